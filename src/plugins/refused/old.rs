//! Directives and options that older versions of CoreDNS took, and what took their place.

use crate::corefile::{Cursor, Word};

/// What one occurrence of a directive says, each word as it is written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// The words after the name.
    pub args: Vec<String>,
    /// The options of its block, each with its words.
    pub options: Vec<Vec<String>>,
}

impl Said {
    /// Reads the rest of an occurrence, from the name that the cursor stands on.
    #[must_use]
    pub fn read(cursor: &mut Cursor<'_>) -> Self {
        let written = |words: &[&Word]| words.iter().map(|word| word.written().to_owned()).collect::<Vec<_>>();
        let args = written(&cursor.args());
        let mut options = Vec::new();
        while cursor.next_option() {
            let name = cursor.word();
            options.push(written(&[&[name][..], &cursor.args()].concat()));
        }
        Self { args, options }
    }
}

/// What takes the place of an old directive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replacement {
    /// The lines to write; the first one begins the directive. Empty if it has no successor.
    pub lines: Vec<String>,
    /// What is lost, and what to do about it.
    pub lost: Vec<String>,
}

impl Replacement {
    /// Returns the hints of an error about the old directive.
    #[must_use]
    pub fn hints(&self) -> Vec<String> {
        let lines = match &self.lines[..] {
            [] => "take it out".to_owned(),
            [line] => format!("write `{line}`"),
            lines => format!("write\n    {}", lines.join("\n    ")),
        };
        let migrate = "`signpost -conf FILE -migrate` prints the whole Corefile as it is written today".to_owned();
        [lines].into_iter().chain(self.lost.clone()).chain([migrate]).collect()
    }
}

/// Returns what takes the place of a directive; `None` if it is not an old one.
#[must_use]
pub fn replacement(name: &str, said: &Said) -> Option<Replacement> {
    let one = |line: String, lost: &[&str]| {
        Some(Replacement { lines: vec![line], lost: lost.iter().map(ToString::to_string).collect() })
    };
    let none = |lost: &str| Some(Replacement { lines: Vec::new(), lost: vec![lost.to_owned()] });
    match name {
        "proxy" => Some(proxy(said)),
        "startup" | "shutdown" => one(
            format!("on {name} {}", said.args.join(" ")),
            &["*on* is read here, and its command does not run: use an init container or `lifecycle` in Kubernetes"],
        ),
        "federation" => none("federations of Kubernetes are gone; *rewrite* or *template* can answer for their names"),
        "reverse" => none("*template* makes names from addresses, and addresses from names"),
        _ => None,
    }
}

/// `proxy` is `forward` since CoreDNS 1.5.0, and `grpc` if it asked by gRPC.
fn proxy(said: &Said) -> Replacement {
    let (mut options, mut lost) = (Vec::new(), Vec::new());
    let is_grpc = said.options.iter().any(|option| option.len() > 1 && option[..2] == ["protocol", "grpc"]);
    let directive = if is_grpc { "grpc" } else { "forward" };
    for option in &said.options {
        let words: Vec<&str> = option.iter().map(String::as_str).collect();
        let line = words.join(" ");
        let mut lose = |why: &str| lost.push(format!("`{line}` has no successor: {why}"));
        match words[..] {
            ["policy", "first"] => options.push("policy sequential".to_owned()),
            ["policy", "least_conn"] => lose("the default policy is `random`"),
            ["max_fails", ..] if is_grpc => lose("`grpc` does not probe its upstreams"),
            ["policy" | "max_fails" | "except", ..] => options.push(line),
            ["protocol", "grpc", "insecure"] => {}
            ["protocol", "grpc", ref files @ ..] => options.push([&["tls"], files].concat().join(" ")),
            ["protocol", "dns", "force_tcp"] => options.push("force_tcp".to_owned()),
            ["protocol", "dns"] => {}
            ["protocol", "https_google", ..] => lose(
                "for DNS over TLS to Google write `forward . tls://8.8.8.8 tls://8.8.4.4 { tls_servername dns.google }`, \
                 on three lines",
            ),
            ["protocol", ..] => lose("upstreams are `tls://`, `https://` or `quic://` addresses now"),
            ["fail_timeout", ..] => lose("`forward` looks by itself when an upstream is up again"),
            ["health_check", ..] => {
                lose("`forward` asks upstreams by DNS; `health_check` names the time between two probes");
            }
            ["spray", ..] => lose("with all upstreams down `forward` asks one of them anyway"),
            _ => lose("`forward` has no such option"),
        }
    }
    let head = format!("{directive} {}", said.args.join(" ")).trim_end().to_owned();
    let lines = match &options[..] {
        [] => vec![head],
        options => {
            let inner = options.iter().map(|option| format!("    {option}"));
            [format!("{head} {{")].into_iter().chain(inner).chain(["}".to_owned()]).collect()
        }
    };
    Replacement { lines, lost }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(args: &str, options: &[&str]) -> Said {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        Said { args: words(args), options: options.iter().map(|option| words(option)).collect() }
    }

    #[test]
    fn a_proxy_becomes_a_forward() {
        let lines = |args: &str, options: &[&str]| proxy(&said(args, options)).lines.join("\n");
        assert_eq!(lines(". 8.8.8.8:53 /etc/resolv.conf", &[]), "forward . 8.8.8.8:53 /etc/resolv.conf");
        assert_eq!(lines(". 8.8.8.8", &["fail_timeout 5s", "spray", "protocol https_google"]), "forward . 8.8.8.8");
        let new = "forward a 192.0.2.1 {\n    policy sequential\n    force_tcp\n    except b\n}";
        assert_eq!(lines("a 192.0.2.1", &["policy first", "protocol dns force_tcp", "except b"]), new);
        assert_eq!(lines(". 192.0.2.1:443", &["protocol grpc insecure", "max_fails 1"]), "grpc . 192.0.2.1:443");
        let new = "grpc . 192.0.2.1 {\n    tls cert.pem key.pem\n}";
        assert_eq!(lines(". 192.0.2.1", &["protocol grpc cert.pem key.pem"]), new);
        assert_eq!(proxy(&said(".", &["spray", "nope 1"])).lost.len(), 2);
    }
}
