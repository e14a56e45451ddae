//! What one `forward` directive says, and the options of its block.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::health::Health;
use super::policy::Policy;
use crate::chain::options::{OptionOf, OptionsOf, unknown_property};
use crate::chain::setup::Setup;
use crate::chain::zones::{Fallthrough, Zones};
use crate::corefile::value::{host_port, ip};
use crate::corefile::{Cursor, Word};
use crate::error::Result;
use crate::remote::{self, TlsOptions};
use crate::wire::name::Name;
use crate::wire::types::{rcode, rcode_number};

/// What one directive says.
pub(super) struct Options {
    /// Zones whose names are forwarded.
    pub(super) from: Vec<Name>,
    /// Zones below them whose names are not.
    pub(super) except: Vec<Name>,
    pub(super) policy: Policy,
    pub(super) force_tcp: bool,
    pub(super) prefer_udp: bool,
    pub(super) health: Arc<Health>,
    pub(super) failfast: bool,
    /// Tries of one query; 0 for any number, `None` for as many as make sense.
    pub(super) max_tries: Option<usize>,
    /// How long one try may take.
    pub(super) read_timeout: Duration,
    /// Queries at a time, and the number as it is written.
    pub(super) max_concurrent: Option<(usize, String)>,
    /// RCODEs with which the other upstreams are asked.
    pub(super) failover: Vec<u16>,
    /// RCODEs with which the next `forward` is asked.
    pub(super) next: Vec<u16>,
    pub(super) next_on_nodata: bool,
    /// Whether a plugin above reads which upstream answered: replies carry it then.
    pub(super) names_upstream: bool,
    /// Names that are left to the next plugin if they do not exist; an option of `grpc`.
    pub(super) fallthrough: Fallthrough,
    /// How upstreams are reached.
    pub(super) remote: remote::DialOptions,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            from: Vec::new(),
            except: Vec::new(),
            policy: Policy::Random,
            force_tcp: false,
            prefer_udp: false,
            health: Arc::default(),
            failfast: false,
            max_tries: None,
            read_timeout: Duration::from_secs(2),
            max_concurrent: None,
            failover: Vec::new(),
            next: Vec::new(),
            next_on_nodata: false,
            names_upstream: false,
            fallthrough: Fallthrough::default(),
            remote: remote::DialOptions::default(),
        }
    }
}

//----------- The table ------------------------------------------------------

/// Zones that are not forwarded.
pub(super) const EXCEPT: OptionOf<Options> = OptionOf {
    name: "except",
    form: "ZONE...",
    about: "Zones below FROM that are not forwarded.",
    read: |cursor, options, _| {
        let zones = cursor.args_of(1..)?;
        options.except.extend_from_slice(&Zones::read(cursor, &zones, &[]));
        Ok(())
    },
};

/// Which upstream is asked first.
pub(super) const POLICY: OptionOf<Options> = OptionOf {
    name: "policy",
    form: "random|round_robin|sequential",
    about: "Which upstream is asked first (random).",
    read: |cursor, options, _| {
        let word = cursor.expect_arg()?;
        let message = || format!("Error during parsing: unknown policy '{word}'");
        let policy = Policy::from_word(&word.text);
        options.policy = policy.ok_or_else(|| cursor.unknown(word, message(), Policy::WORDS))?;
        Ok(())
    },
};

/// The options of `forward`.
pub(super) static OPTIONS: OptionsOf<Options> = OptionsOf {
    all: &[
        EXCEPT,
        OptionOf {
            name: "max_fails",
            form: "N",
            about: "An upstream is down, and not asked, after more than N failed probes in a row (2). With 0 \
                    it is never down, and not probed.",
            read: |cursor, options, _| {
                Arc::make_mut(&mut options.health).max_fails = unsigned(cursor)? as u32;
                Ok(())
            },
        },
        OptionOf {
            name: "max_connect_attempts",
            form: "N",
            about: "How often one query is sent at most (as often as makes sense in the time of two tries \
                    for each upstream); 0 means as often as makes sense in 4.5 s.",
            read: |cursor, options, _| {
                options.max_tries = Some(unsigned(cursor)? as usize);
                Ok(())
            },
        },
        OptionOf {
            name: "health_check",
            form: "DURATION [no_rec] [domain NAME]",
            about: "After a late answer or a failed try an upstream is probed every DURATION (500ms) until \
                    it answers: with a question for NS of NAME (`.`), with RD unless `no_rec` is given.",
            read: |cursor, options, _| health_check(cursor, Arc::make_mut(&mut options.health)),
        },
        OptionOf {
            name: "force_tcp",
            form: "",
            about: "Upstreams are asked over TCP, whatever the client uses.",
            read: |cursor, options, _| flag(cursor, &mut options.force_tcp),
        },
        OptionOf {
            name: "prefer_udp",
            form: "",
            about: "Upstreams are asked over UDP first, whatever the client uses. A truncated reply is asked \
                    for again over TCP.",
            read: |cursor, options, _| flag(cursor, &mut options.prefer_udp),
        },
        OptionOf {
            name: "tls",
            form: "[CERT KEY] [CA]",
            about: "PEM files for encrypted upstreams: a certificate of our own and its key, if upstreams \
                    ask for one, and the authorities to trust. Without CA those of the machine are trusted: \
                    `SSL_CERT_FILE`, `SSL_CERT_DIR`, or where distributions keep them. An image without any \
                    needs one of these. A certificate in CA is also trusted itself.",
            read: |cursor, options, s| files(cursor, &mut options.remote.tls, s),
        },
        OptionOf {
            name: "tls_servername",
            form: "NAME",
            about: "The name that certificates of encrypted upstreams have to show (the upstream's host name \
                    or address).",
            read: |cursor, options, _| {
                options.remote.tls.server_name = Some(cursor.expect_arg()?.as_str().to_owned());
                Ok(())
            },
        },
        OptionOf {
            name: "expire",
            form: "DURATION",
            about: "How long sockets without questions are kept (10s).",
            read: |cursor, options, _| {
                options.remote.expire = duration(cursor, "expire")?;
                Ok(())
            },
        },
        OptionOf {
            name: "max_age",
            form: "DURATION",
            about: "How long sockets are used at most (0: as long as they are of use). In any case a \
                    connection hands over to a new one after 15 to 30 s, or 1,000 to 2,000 questions (10,000 \
                    to 20,000 if it is encrypted), so that the load of a node does not stay with one pod of \
                    an upstream Service. No question waits for that: the old connection is used until the \
                    new one is open, and ends with its last answer.",
            read: |cursor, options, _| {
                options.remote.max_age = Some(duration(cursor, "max_age")?).filter(|age| !age.is_zero());
                Ok(())
            },
        },
        OptionOf {
            name: "max_idle_conns",
            form: "N",
            about: "How many sockets without questions are kept (0: any number).",
            read: |cursor, options, _| {
                options.remote.max_idle = Some(count(cursor, "max_idle_conns")?.0).filter(|&most| most > 0);
                Ok(())
            },
        },
        OptionOf {
            name: "read_timeout",
            form: "DURATION",
            about: "How long one try may take (2s). A look-up takes at most as long as all its tries one \
                    after the other, and 4.5 s.",
            read: |cursor, options, _| {
                let word = cursor.expect_arg()?;
                let value = cursor.duration(word)?;
                let wrong = || cursor.error_at(word, format!("read_timeout must be positive: {value}"));
                options.read_timeout = value.duration().filter(|value| !value.is_zero()).ok_or_else(wrong)?;
                Ok(())
            },
        },
        OptionOf {
            name: "doh_method",
            form: "POST|GET",
            about: "How `https://` upstreams are asked (POST).",
            read: |cursor, options, _| {
                let word = cursor.expect_arg()?;
                if !matches!(word.as_str(), "POST" | "GET") {
                    return Err(cursor.error_at(word, "doh_method must be either POST or GET"));
                }
                options.remote.doh_get = word.as_str() == "GET";
                Ok(())
            },
        },
        POLICY,
        OptionOf {
            name: "max_concurrent",
            form: "N",
            about: "More queries than N at a time are REFUSED (0: any number).",
            read: |cursor, options, _| {
                options.max_concurrent = Some(count(cursor, "max_concurrent")?).filter(|(most, _)| *most > 0);
                Ok(())
            },
        },
        OptionOf {
            name: "next",
            form: "RCODE...",
            about: "With these RCODEs the next matching `forward` of the block is asked.",
            read: |cursor, options, _| {
                options.next.extend(rcodes(cursor)?);
                Ok(())
            },
        },
        OptionOf {
            name: "next_on_nodata",
            form: "",
            about: "With an empty answer the next matching `forward` of the block is asked.",
            read: |cursor, options, _| flag(cursor, &mut options.next_on_nodata),
        },
        OptionOf {
            name: "failfast_all_unhealthy_upstreams",
            form: "",
            about: "SERVFAIL is sent at once when all upstreams are down, instead of after one last try.",
            read: |cursor, options, _| flag(cursor, &mut options.failfast),
        },
        OptionOf {
            name: "failover",
            form: "RCODE...",
            about: "With these RCODEs the other upstreams are asked, one after the other. If none of them \
                    has another answer, the last one counts. Upstreams that have been silent for a while are \
                    neither asked nor waited for.",
            read: |cursor, options, _| {
                let rcodes = rcodes(cursor)?;
                if rcodes.contains(&rcode::NOERROR) {
                    return Err(cursor.error("NoError cannot be used in failover"));
                }
                options.failover.extend(rcodes);
                Ok(())
            },
        },
        OptionOf {
            name: "resolver",
            form: "IP[:PORT]...",
            about: "Which servers are asked for host names of upstreams, in place of the name servers in \
                    `/etc/resolv.conf`.",
            read: |cursor, options, _| {
                for word in cursor.args_of(1..)? {
                    let (host, port) = host_port(&word.text).unwrap_or((&word.text, "53"));
                    let wrong =
                        || cursor.error_at(word, format!("resolver must be an IP address or IP:port: \"{word}\""));
                    // An invalid port is accepted, as in CoreDNS: no server answers at it.
                    options
                        .remote
                        .resolvers
                        .push(SocketAddr::new(ip(host).ok_or_else(wrong)?, port.parse().unwrap_or(0)));
                }
                Ok(())
            },
        },
        OptionOf {
            name: "source_address",
            form: "IP",
            about: "The address that queries leave from.",
            read: |cursor, options, _| {
                let word = cursor.expect_arg()?;
                let wrong = || cursor.error_at(word, format!("invalid IP address: {word}"));
                options.remote.source = Some(ip(&word.text).ok_or_else(wrong)?);
                Ok(())
            },
        },
        OptionOf {
            name: "random_case",
            form: "",
            about: "Not in CoreDNS. The letters of a question are in random case, and a reply counts only if \
                    it repeats that (0x20). After three replies that do not, the upstream is asked over TCP, \
                    where replies cannot be forged. If it does not repeat the case there either, it is asked \
                    as always from then on.",
            read: |cursor, options, _| flag(cursor, &mut options.remote.random_case),
        },
    ],
    unknown: unknown_property,
};

//----------- Single options -------------------------------------------------

pub(super) fn files(cursor: &mut Cursor<'_>, tls: &mut TlsOptions, s: &Setup<'_>) -> Result<()> {
    let mut words = cursor.args_of(..=3)?;
    // An empty CA means those of the machine, as in CoreDNS.
    if matches!(words.len(), 1 | 3) {
        let _ = words.pop_if(|ca| ca.text.is_empty());
    }
    let what = |at: usize, word: &Word| match (words.len(), at) {
        (1, _) | (_, 2) => format!("error reading {word}"),
        _ => "could not load TLS cert".to_owned(),
    };
    let files = words.iter().enumerate().filter_map(|(at, word)| s.file(cursor, word, &what(at, word)));
    let files: Vec<_> = files.collect();
    if files.len() == words.len() {
        tls.read(&files).map_err(|wrong| cursor.error(wrong))?;
    }
    Ok(())
}

fn health_check(cursor: &mut Cursor<'_>, health: &mut Health) -> Result<()> {
    health.interval = duration(cursor, "health_check")?;
    health.domain = Name::ROOT;
    while let Some(word) = cursor.next_arg() {
        match word.as_str() {
            "no_rec" => health.recursion = false,
            "domain" => {
                let domain = cursor.expect_arg()?;
                let wrong = |_| cursor.error_at(domain, format!("health_check: invalid domain name {domain}"));
                health.domain = Name::from_text(&domain.text).map_err(wrong)?.lowered();
            }
            _ => {
                let message = format!("Error during parsing: health_check: unknown option {word}");
                return Err(cursor.unknown(word, message, &["no_rec", "domain"]));
            }
        }
    }
    Ok(())
}

//----------- Values ---------------------------------------------------------

fn flag(cursor: &mut Cursor<'_>, flag: &mut bool) -> Result<()> {
    cursor.expect_no_arg()?;
    *flag = true;
    Ok(())
}

fn unsigned(cursor: &mut Cursor<'_>) -> Result<u64> {
    let word = cursor.expect_arg()?;
    cursor.unsigned(word, 32)
}

/// A number from 0, and as it is written.
fn count(cursor: &mut Cursor<'_>, option: &str) -> Result<(usize, String)> {
    let word = cursor.expect_arg()?;
    let number = cursor.integer(word)?;
    let wrong = |_| cursor.error_at(word, format!("{option} can't be negative: {number}"));
    Ok((usize::try_from(number).map_err(wrong)?, word.as_str().to_owned()))
}

fn duration(cursor: &mut Cursor<'_>, option: &str) -> Result<Duration> {
    let word = cursor.expect_arg()?;
    let value = cursor.duration(word)?;
    value.duration().ok_or_else(|| cursor.error_at(word, format!("{option} can't be negative: {value}")))
}

fn rcodes(cursor: &mut Cursor<'_>) -> Result<Vec<u16>> {
    let words = cursor.args_of(1..)?;
    let number = |word: &Word| {
        let number = match word.text.to_uppercase().as_str() {
            "NOTIMPL" => Some(rcode::NOTIMP),
            "BADSIG" => Some(rcode::BADVERS),
            known => rcode_number(known),
        };
        number.ok_or_else(|| cursor.error_at(word, format!("{word} is not a valid rcode")))
    };
    words.into_iter().map(number).collect()
}
