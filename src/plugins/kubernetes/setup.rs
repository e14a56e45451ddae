//! The directive: from the Corefile to options.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use super::name::Schema;
use super::options::{Options, Pods};
use super::selector::Selector;
use super::source::{ApiFrom, Origin, SourceOptions};
use super::zone::Zone;
use crate::chain::setup::Setup;
use crate::corefile::address::{is_reverse, normalize_zones};
use crate::corefile::{Cursor, Word};
use crate::error::Result;
use crate::wire::name::Name;

/// All options, for "did you mean".
const KNOWN: &[&str] = &[
    "apiserver_burst",
    "apiserver_max_inflight",
    "apiserver_qps",
    "endpoint",
    "endpoint_pod_names",
    "fallthrough",
    "ignore",
    "kubeconfig",
    "labels",
    "manifests",
    "multicluster",
    "namespace_labels",
    "namespaces",
    "noendpoints",
    "pods",
    "startup_timeout",
    "tls",
    "ttl",
    "zonal",
];

/// What a directive says.
#[derive(Debug)]
pub(super) struct Directive {
    pub(super) zones: Vec<Name>,
    pub(super) multicluster: Vec<Name>,
    pub(super) primary: Name,
    pub(super) options: Options,
    pub(super) source: SourceOptions,
}

impl Directive {
    /// The zones with what answers need to know of them.
    pub(super) fn served(&self) -> Vec<Zone> {
        let schema = |zone: &Name| {
            let (multicluster, zonal) = (self.multicluster.contains(zone), self.source.zonal);
            Schema { multicluster, zonal, ..Schema::default() }
        };
        self.zones.iter().map(|zone| Zone::new(*zone, schema(zone), self.options.ttl)).collect()
    }

    /// The zones in which no name is ever asked of the next plugin.
    pub(super) fn own_zones(&self) -> impl Iterator<Item = Name> + '_ {
        let falls = |zone: &Name| self.options.fallthrough.iter().any(|f| zone.is_under(f) || f.is_under(zone));
        self.zones.iter().copied().filter(move |zone| !falls(zone))
    }
}

/// Reads the directive of one server block.
pub(super) fn read(s: &Setup<'_>) -> Result<Directive> {
    let mut cursor = s.cursor();
    let mut read = None;
    while cursor.next_occurrence() {
        if read.is_some() {
            return Err(cursor.once_error());
        }
        read = Some(directive(s, &mut cursor)?);
    }
    read.ok_or_else(|| cursor.arg_err())
}

fn directive(s: &Setup<'_>, cursor: &mut Cursor<'_>) -> Result<Directive> {
    let arguments = cursor.args();
    let zones = names(normalize_zones(arguments.iter().map(|word| word.as_str()), s.keys));
    let primary = zones.iter().find(|zone| !is_reverse(&zone.to_string())).copied();
    let Some(primary) = primary else {
        let complaint = cursor.complain(cursor.word(), "non-reverse zone name must be used");
        return Err(complaint.hint("name the cluster's domain as well, such as cluster.local").into());
    };
    let mut reader = Reader::new();
    while cursor.next_option() {
        reader.option(s, cursor)?;
    }
    reader.check(cursor, &zones)?;
    let Reader { options, source, multicluster, .. } = reader;
    Ok(Directive { zones, multicluster, primary, options, source })
}

fn names(zones: Vec<String>) -> Vec<Name> {
    zones.iter().filter_map(|zone| Name::from_text(zone).ok()).map(Name::lowered).collect()
}

//----------- Options --------------------------------------------------------

struct Reader {
    options: Options,
    source: SourceOptions,
    multicluster: Vec<Name>,
    endpoint: Option<String>,
    tls: Option<[PathBuf; 3]>,
    kubeconfig: Option<(PathBuf, Option<String>)>,
    manifests: Vec<PathBuf>,
}

impl Reader {
    fn new() -> Self {
        Self {
            options: Options {
                ttl: 5,
                pods: Pods::Disabled,
                namespaces: None,
                ignore_empty_service: false,
                fallthrough: Vec::new(),
                startup_timeout: Duration::from_secs(5),
            },
            source: SourceOptions::default(),
            multicluster: Vec::new(),
            endpoint: None,
            tls: None,
            kubeconfig: None,
            manifests: Vec::new(),
        }
    }

    fn option(&mut self, s: &Setup<'_>, cursor: &mut Cursor<'_>) -> Result<()> {
        let option = cursor.word();
        let args = cursor.args();
        // Complaints about the number of arguments name the last one, as CoreDNS does.
        let wrong_count = |cursor: &Cursor<'_>| Err(cursor.arg_err());
        match (option.as_str(), args.as_slice()) {
            ("endpoint_pod_names", []) => self.source.endpoint_pod_names = true,
            ("noendpoints", []) => self.source.endpoints = false,
            ("zonal", []) => self.source.zonal = true,
            ("pods", [mode]) => self.options.pods = pods(cursor, mode)?,
            ("namespaces", [_, ..]) => {
                let labels = args.iter().map(|word| word.as_str().to_ascii_lowercase().into_bytes().into_boxed_slice());
                self.options.namespaces.get_or_insert_with(HashSet::new).extend(labels);
            }
            ("endpoint", [url, ..]) => self.endpoint = Some(url.as_str().to_owned()),
            ("tls", [cert, key, ca]) => {
                let path = |word: &Word| s.path(word.as_str());
                self.tls = Some([path(cert), path(key), path(ca)]);
            }
            ("kubeconfig", [file]) => self.kubeconfig = Some((s.path(file.as_str()), None)),
            ("kubeconfig", [file, context]) => {
                self.kubeconfig = Some((s.path(file.as_str()), Some(context.as_str().to_owned())));
            }
            ("manifests", [_, ..]) => self.manifests.extend(args.iter().map(|word| s.path(word.as_str()))),
            ("labels", [_, ..]) => self.source.labels = selector(cursor, &args)?,
            ("namespace_labels", [_, ..]) => self.source.namespace_labels = selector(cursor, &args)?,
            ("fallthrough", []) => self.options.fallthrough = vec![Name::ROOT],
            ("fallthrough", _) => self.options.fallthrough = zones_of(&args),
            ("multicluster", _) => self.multicluster = names(normalize_zones(args.iter().map(|w| w.as_str()), s.keys)),
            ("ttl", [seconds, ..]) => self.options.ttl = ttl(cursor, seconds)?,
            ("ignore", []) => {}
            ("ignore", [what, ..]) if what.as_str() == "empty_service" => self.options.ignore_empty_service = true,
            ("ignore", [what, ..]) => {
                return Err(cursor.unknown(
                    what,
                    format!("unable to parse ignore value: '{what}'"),
                    &["empty_service"],
                ));
            }
            ("startup_timeout", [time]) => self.options.startup_timeout = startup_timeout(cursor, time)?,
            ("apiserver_qps", [number]) => at_least_zero(cursor, number, cursor.float(number)?)?,
            ("apiserver_burst" | "apiserver_max_inflight", [number]) => {
                at_least_zero(cursor, number, cursor.integer(number)? as f64)?;
            }
            (known, _) if KNOWN.contains(&known) => return wrong_count(cursor),
            _ => return Err(unknown(cursor, option)),
        }
        Ok(())
    }

    /// What can only be said once all options are read.
    fn check(&mut self, cursor: &Cursor<'_>, zones: &[Name]) -> Result<()> {
        if self.options.namespaces.is_some() && self.source.namespace_labels != Selector::default() {
            let complaint = cursor.error("namespaces and namespace_labels cannot both be set");
            return Err(complaint);
        }
        if self.source.zonal && !self.source.endpoints {
            return Err(cursor.error("zonal needs endpoints: it cannot be set with noendpoints"));
        }
        if let Some(zone) = self.multicluster.iter().find(|zone| !zones.contains(zone)) {
            return Err(cursor.error(format!("is not authoritative for the multicluster zone {zone}")));
        }
        self.source.ttl = self.options.ttl;
        self.source.pods_verified = self.options.pods == Pods::Verified;
        self.source.multicluster = !self.multicluster.is_empty();
        self.source.origin = self.origin(cursor)?;
        Ok(())
    }

    fn origin(&mut self, cursor: &Cursor<'_>) -> Result<Origin> {
        let from_api = self.endpoint.is_some() || self.tls.is_some() || self.kubeconfig.is_some();
        if !self.manifests.is_empty() {
            return match from_api {
                true => Err(cursor.error(
                    "manifests takes the place of an API server: it cannot be set with endpoint, tls or kubeconfig",
                )),
                false => Ok(Origin::Manifests(std::mem::take(&mut self.manifests))),
            };
        }
        Ok(Origin::Api(match (self.kubeconfig.take(), self.endpoint.take()) {
            (Some((file, context)), _) => ApiFrom::Kubeconfig { file, context },
            (None, Some(url)) => ApiFrom::Endpoint { url, tls: self.tls.take() },
            (None, None) => ApiFrom::InCluster,
        }))
    }
}

fn unknown(cursor: &Cursor<'_>, option: &Word) -> crate::error::Error {
    cursor.unknown(option, format!("Error during parsing: unknown property '{option}'"), KNOWN)
}

fn pods(cursor: &Cursor<'_>, mode: &Word) -> Result<Pods> {
    match mode.as_str() {
        "disabled" => Ok(Pods::Disabled),
        "insecure" => Ok(Pods::Insecure),
        "verified" => Ok(Pods::Verified),
        _ => {
            let message = format!("wrong value for pods: {mode},  must be one of: disabled, verified, insecure");
            Err(cursor.unknown(mode, message, &["disabled", "verified", "insecure"]))
        }
    }
}

fn ttl(cursor: &Cursor<'_>, word: &Word) -> Result<u32> {
    let seconds = cursor.integer(word)?;
    match u32::try_from(seconds) {
        Ok(seconds) if seconds <= 3600 => Ok(seconds),
        _ => Err(cursor.error_at(word, format!("ttl must be in range [0, 3600]: {seconds}"))),
    }
}

fn startup_timeout(cursor: &Cursor<'_>, word: &Word) -> Result<Duration> {
    // Nothing or less would make CoreDNS panic; here it means not to wait.
    Ok(cursor.duration(word)?.duration().unwrap_or_default())
}

fn at_least_zero(cursor: &Cursor<'_>, word: &Word, number: f64) -> Result<()> {
    if number < 0.0 { Err(cursor.error_at(word, format!("must not be negative: {word}"))) } else { Ok(()) }
}

fn selector(cursor: &Cursor<'_>, args: &[&Word]) -> Result<Selector> {
    let text = args.iter().map(|word| word.as_str()).collect::<Vec<_>>().join(" ");
    Selector::parse(&text).map_err(|why| {
        let message = format!("unable to parse label selector value: '{text}': {why}");
        cursor.complain(args[0], message).hint("selectors are written as in kubectl: a=b,c!=d,e in (f,g),!h").into()
    })
}

fn zones_of(args: &[&Word]) -> Vec<Name> {
    names(normalize_zones(args.iter().map(|word| word.as_str()), &[]))
}
