//! The command line of `signpost compare`, with flags in the server's style.

use std::net::{IpAddr, SocketAddr};

/// What to compare, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// The server that may replace the other.
    pub server: SocketAddr,
    /// The server that answers today.
    pub against: SocketAddr,
    /// A file of questions or a query log; `-` for standard input.
    pub questions: String,
    /// Questions a second to each server.
    pub rate: f64,
    /// Whether TTLs must be equal.
    pub ttl: bool,
}

/// The usage text.
pub const USAGE: &str = "Usage of signpost compare: asks two servers the same questions and prints what differs
  -against ADDRESS  the server that answers today, for instance 10.96.0.10; port 53 unless it says another
  -questions FILE   lines `NAME TYPE`, or a query log as the log plugin writes it; - reads standard input
  -server ADDRESS   the server on trial (default 127.0.0.1:53, which is this pod)
  -rate N           questions a second to each server (default 100)
  -ttl              TTLs must be equal, too
Exit status: 0 all the same, 1 something differs, 2 it could not be tried
";

/// Reads the arguments after `compare`.
///
/// # Errors
/// What is wrong with them, and the usage.
pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Options, String> {
    let mut arguments = arguments.into_iter();
    let (mut against, mut questions) = (None, None);
    let (mut server, mut rate, mut ttl) = (SocketAddr::from(([127, 0, 0, 1], 53)), 100.0, false);
    while let Some(argument) = arguments.next() {
        let flag = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-')).unwrap_or(&argument);
        let (name, inline) = match flag.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (flag, None),
        };
        let mut value =
            || inline.clone().or_else(|| arguments.next()).ok_or_else(|| usage(&format!("-{name} needs a value")));
        match name {
            "ttl" => ttl = true,
            "server" => server = address(&value()?)?,
            "against" => against = Some(address(&value()?)?),
            "questions" => questions = Some(value()?),
            "rate" => {
                let text = value()?;
                let is_rate = |rate: &f64| (0.1..=100_000.0).contains(rate);
                rate = text.parse().ok().filter(is_rate).ok_or_else(|| usage(&format!("-rate {text}: not a rate")))?;
            }
            "h" | "help" => return Err(USAGE.to_owned()),
            _ => return Err(usage(&format!("{argument:?} is no flag"))),
        }
    }
    Ok(Options {
        server,
        against: against.ok_or_else(|| usage("-against ADDRESS is missing"))?,
        questions: questions.ok_or_else(|| usage("-questions FILE is missing"))?,
        rate,
        ttl,
    })
}

fn usage(why: &str) -> String {
    format!("{why}\n{USAGE}")
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let with_port = || text.parse::<IpAddr>().map(|address| SocketAddr::new(address, 53));
    text.parse().or_else(|_| with_port()).map_err(|_| usage(&format!("{text:?} is no address")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Options, String> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn addresses_may_lack_their_port() {
        let options = read("-against 10.96.0.10 --questions=- -server [::1]:1053 -ttl").expect("options");
        assert_eq!(options.against.to_string(), "10.96.0.10:53");
        assert_eq!(options.server.to_string(), "[::1]:1053");
        assert!(options.ttl && options.questions == "-");
    }

    #[test]
    fn what_is_missing_is_named() {
        let why = |line| read(line).expect_err("refused").lines().next().map(str::to_owned);
        assert_eq!(why("-questions q").as_deref(), Some("-against ADDRESS is missing"));
        assert_eq!(why("-against kube-dns").as_deref(), Some("\"kube-dns\" is no address"));
        assert_eq!(why("-against 10.96.0.10 -rate 0").as_deref(), Some("-rate 0: not a rate"));
    }
}
