//! The command line: CoreDNS's flags and node-cache's, in Go's syntax.

mod node;

use std::path::PathBuf;

pub use node::NodeFlags;

/// What the command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Serve a Corefile.
    Serve(Args),
    /// Check a Corefile and say whether it can be served.
    Validate(Args),
    /// Print the version.
    Version,
    /// Print the names of all plugins.
    Plugins,
    /// Print the Corefile at a path as it is written today.
    Migrate(String),
    /// Print the manual of a plugin.
    Manual(String),
    /// Print how to use the program.
    Help,
}

/// Settings of the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Args {
    /// The path of the Corefile; `stdin` is standard input. `None` means `./Corefile`, or the
    /// built-in one if that does not exist.
    pub conf: Option<String>,
    /// Where to write the process id.
    pub pidfile: Option<PathBuf>,
    /// The port of server block keys without one.
    pub port: String,
    /// Whether the server leaves out its zones and version at the start.
    pub quiet: bool,
    /// Whether log lines are JSON.
    pub json: bool,
    /// The settings of a node cache; `None` if no flag of node-cache is given.
    pub node: Option<NodeFlags>,
}

impl Default for Args {
    fn default() -> Self {
        Self { conf: None, pidfile: None, port: "53".into(), quiet: false, json: false, node: None }
    }
}

/// Why a command line is refused: the exit status and the text for standard error.
pub type Refusal = (u8, String);

/// The exit status for an unknown flag or a missing value; the usage is printed as well.
pub const USAGE_STATUS: u8 = 2;

/// How to use the program.
pub const USAGE: &str = "Usage of signpost:
  -conf FILE        Corefile to load; `stdin` reads standard input (default ./Corefile)
  -dns.port N, -p N port of server blocks that name none (default 53)
  -log-format F     text or json (default text)
  -manual PLUGIN    print the manual of a plugin and exit
  -migrate          print the Corefile as it is written today, and on standard error what is to be known about it
  -pidfile FILE     write the process id there
  -plugins          list the plugins and exit
  -quiet            do not print zones and version at start
  -validate         check the Corefile, print all that is found and exit with 0 or 1; opens no socket and asks no network
  -version          print the version and exit
With -localip it is a NodeLocal DNSCache, in node-cache's place:
  -localip IP,IP        addresses to answer on
  -basecorefile FILE    Corefile with __PILLAR__ words (default /etc/coredns/Corefile.base; without it -conf is read as it is)
  -corefile FILE        Corefile if there is neither that nor -conf (default /etc/Corefile)
  -upstreamsvc NAME     Service whose ClusterIP is __PILLAR__CLUSTER__DNS__ (default kube-dns)
  -kubednscm FOLDER     mounted ConfigMap kube-dns (default /etc/kube-dns, if it is there)
  -setupinterface       give the addresses to an interface (default true)
  -interfacename NAME   its name (default nodelocaldns)
  -setupiptables        keep connection tracking away from the addresses, with nf_tables (default true)
  -health-port N        port of the health plugin, kept away from it too (default 8080)
  -syncinterval TIME    look after interface and rules this often (default 60s)
  -skipteardown         leave interface and rules behind at the end
  -reloadwithsignal     take over changed files without the reload plugin
  -metrics-listen-address A  where /metrics of the node cache is (default 0.0.0.0:9353)
  -prometheus-listen-address A  what __PROMETHEUS__ENDPOINT__ stands for (default :9253)
  -initialdelay, -setupebtables  accepted, without effect
signpost ask -h: ask a server one question and print its reply, as dig does
signpost compare -h: ask two servers the same questions and print what differs
";

/// Reads arguments (without the program's own name): `-name value`, `-name=value`, one dash or two.
///
/// # Errors
/// Exit status 2 for an unknown flag or a missing value, 1 for an invalid value or a surplus
/// argument, as in CoreDNS.
pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Command, Refusal> {
    let mut arguments = arguments.into_iter();
    let (mut args, mut mode) = (Args::default(), None);
    while let Some(argument) = arguments.next() {
        let Some(flag) = flag_name(&argument) else {
            return Err((
                1,
                format!(
                    "extra command line arguments: [{argument}{}]\nhelp: the Corefile is named by -conf FILE",
                    rest(arguments)
                ),
            ));
        };
        let (name, inline) = match flag.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (flag, None),
        };
        match name {
            "quiet" | "version" | "plugins" | "validate" | "migrate" | "h" | "help" => {
                if !switch(name, inline.as_deref())? {
                    continue;
                }
                match name {
                    "quiet" => args.quiet = true,
                    "version" => mode = mode.or(Some(Command::Version)),
                    "plugins" => mode = mode.or(Some(Command::Plugins)),
                    "migrate" => mode = mode.or(Some(Command::Migrate(String::new()))),
                    "validate" => mode = mode.or(Some(Command::Validate(Args::default()))),
                    _ => return Ok(Command::Help),
                }
            }
            "manual" => {
                let value = value(name, inline, &mut arguments)?;
                mode = mode.or(Some(Command::Manual(value)));
            }
            "conf" | "pidfile" | "dns.port" | "p" | "log-format" => {
                let value = value(name, inline, &mut arguments)?;
                set(&mut args, name, value)?;
            }
            _ if node::SWITCHES.contains(&name) => {
                let on = switch(name, inline.as_deref())?;
                args.node.get_or_insert_default().switch(name, on);
            }
            _ if node::VALUES.contains(&name) => {
                let value = value(name, inline, &mut arguments)?;
                args.node.get_or_insert_default().set(name, value)?;
            }
            _ => return Err((USAGE_STATUS, format!("flag provided but not defined: -{name}"))),
        }
    }
    if let Some(flags) = &args.node {
        flags.check(&args.port)?;
    }
    Ok(match mode {
        None => Command::Serve(args),
        Some(Command::Validate(_)) => Command::Validate(args),
        Some(Command::Migrate(_)) => Command::Migrate(args.conf.unwrap_or_else(|| "Corefile".to_owned())),
        Some(mode) => mode,
    })
}

/// Returns whether the command line asks for JSON lines, even if another part of it is invalid:
/// then the complaint is JSON as well.
#[must_use]
pub fn wants_json(arguments: &[String]) -> bool {
    let names = ["-log-format", "--log-format"];
    let next = arguments.iter().skip(1).map(String::as_str).chain([""]);
    let values = arguments.iter().zip(next).filter_map(|(argument, next)| match argument.split_once('=') {
        Some((name, value)) if names.contains(&name) => Some(value),
        None if names.contains(&argument.as_str()) => Some(next),
        _ => None,
    });
    values.last() == Some("json")
}

fn flag_name(argument: &str) -> Option<&str> {
    let name = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-'))?;
    (!name.is_empty()).then_some(name)
}

/// Returns the value behind `=`, or the next argument.
fn value(name: &str, inline: Option<String>, arguments: &mut impl Iterator<Item = String>) -> Result<String, Refusal> {
    inline.or_else(|| arguments.next()).ok_or_else(|| (USAGE_STATUS, format!("flag needs an argument: -{name}")))
}

fn rest(arguments: impl Iterator<Item = String>) -> String {
    arguments.map(|argument| format!(" {argument}")).collect()
}

fn switch(name: &str, value: Option<&str>) -> Result<bool, Refusal> {
    match value {
        None | Some("true" | "1" | "t" | "T" | "TRUE" | "True") => Ok(true),
        Some("false" | "0" | "f" | "F" | "FALSE" | "False") => Ok(false),
        Some(other) => Err((USAGE_STATUS, format!("invalid boolean value \"{other}\" for -{name}: parse error"))),
    }
}

fn set(args: &mut Args, name: &str, value: String) -> Result<(), Refusal> {
    match name {
        "conf" => args.conf = (!value.is_empty()).then_some(value),
        "pidfile" => args.pidfile = (!value.is_empty()).then(|| value.into()),
        "log-format" => {
            args.json = match value.as_str() {
                "text" => false,
                "json" => true,
                _ => return Err((1, format!("unknown log format \"{value}\": expected text or json"))),
            }
        }
        _ => args.port = value,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Command, Refusal> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn flags_have_gos_syntax() {
        let want = Args { conf: Some("a".into()), port: "1053".into(), quiet: true, ..Args::default() };
        for line in ["-conf a -dns.port 1053 -quiet", "--conf=a -p=1053 --quiet=true", "-quiet -p 1053 -conf=a"] {
            assert_eq!(read(line), Ok(Command::Serve(want.clone())), "{line}");
        }
        assert_eq!(read("-version"), Ok(Command::Version));
        assert_eq!(read("-migrate -conf a"), Ok(Command::Migrate("a".into())));
        assert_eq!(read("-manual=cache"), Ok(Command::Manual("cache".into())));
        assert_eq!(
            read("-conf a -validate"),
            Ok(Command::Validate(Args { conf: Some("a".into()), ..Args::default() }))
        );
        assert_eq!(read("-log-format json"), Ok(Command::Serve(Args { json: true, ..Args::default() })));
    }

    #[test]
    fn what_is_wrong_has_coredns_exit_status() {
        assert_eq!(read("Corefile").map_err(|(status, _)| status), Err(1));
        assert_eq!(read("-config a").map_err(|(status, _)| status), Err(2));
        assert_eq!(read("-conf").map_err(|(status, _)| status), Err(2));
        assert_eq!(read("-quiet=maybe").map_err(|(status, _)| status), Err(2));
        assert_eq!(read("-log-format xml").map_err(|(status, _)| status), Err(1));
    }

    #[test]
    fn json_is_asked_for_in_any_place_and_the_last_word_counts() {
        let wants = |line: &str| wants_json(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        for line in ["-log-format json", "-nonsense --log-format=json", "-log-format text -log-format json -conf"] {
            assert!(wants(line), "{line}");
        }
        for line in ["", "json", "-log-format", "-log-format=json -log-format text", "-conf json"] {
            assert!(!wants(line), "{line}");
        }
    }
}
