//! The directive: from the Corefile to options.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use super::answers::name::Schema;
use super::answers::options::{Options, Pods};
use super::answers::zone::Zone;
use super::reading::options::{ApiFrom, Origin, SourceOptions};
use super::reading::selector::Selector;
use super::reading::{manifests, watch};
use crate::chain::setup::Setup;
use crate::chain::zones::{Fallthrough, Zones};
use crate::corefile::address::is_reverse;
use crate::corefile::{Cursor, Severity, Word};
use crate::error::{Complaint, Result};
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
    pub(super) zones: Zones,
    pub(super) multicluster: Zones,
    pub(super) primary: Name,
    pub(super) options: Options,
    pub(super) source: SourceOptions,
    /// The directive, for complaints.
    pub(super) written: Complaint,
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
        self.options.fallthrough.never(&self.zones)
    }
}

/// Reads the directive of one server block.
pub(super) fn read(s: &Setup<'_>) -> Result<Directive> {
    let mut cursor = s.cursor();
    let mut read = None;
    while cursor.only_occurrence()? {
        read = Some(directive(s, &mut cursor)?);
    }
    read.ok_or_else(|| cursor.arg_err())
}

fn directive(s: &Setup<'_>, cursor: &mut Cursor<'_>) -> Result<Directive> {
    let (written, arguments) = (cursor.complain(cursor.word(), ""), cursor.args());
    let zones = Zones::read(cursor, &arguments, s.keys);
    let primary = zones.iter().find(|zone| !is_reverse(&zone.to_string())).copied();
    let Some(primary) = primary else {
        let complaint = cursor.complain(cursor.word(), "non-reverse zone name must be used");
        return Err(complaint.hint("name the cluster's domain as well, such as cluster.local").into());
    };
    let mut reader = Reader::new();
    while cursor.next_option() {
        reader.option(cursor)?;
    }
    reader.check(s, cursor, &zones)?;
    let Reader { options, source, multicluster, .. } = reader;
    Ok(Directive { zones, multicluster, primary, options, source, written })
}

//----------- Options --------------------------------------------------------

struct Reader<'a> {
    options: Options,
    source: SourceOptions,
    multicluster: Zones,
    endpoint: Option<&'a Word>,
    tls: Option<[&'a Word; 3]>,
    kubeconfig: Option<(&'a Word, Option<&'a Word>)>,
    manifests: Vec<&'a Word>,
}

impl<'a> Reader<'a> {
    fn new() -> Self {
        Self {
            options: Options {
                ttl: 5,
                pods: Pods::Disabled,
                namespaces: None,
                ignore_empty_service: false,
                fallthrough: Fallthrough::default(),
                startup_timeout: Duration::from_secs(5),
            },
            source: SourceOptions::default(),
            multicluster: Zones::default(),
            endpoint: None,
            tls: None,
            kubeconfig: None,
            manifests: Vec::new(),
        }
    }

    fn option(&mut self, cursor: &mut Cursor<'a>) -> Result<()> {
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
            ("endpoint", [url, ..]) => self.endpoint = Some(url),
            ("tls", [cert, key, ca]) => self.tls = Some([cert, key, ca]),
            ("kubeconfig", [file]) => self.kubeconfig = Some((file, None)),
            ("kubeconfig", [file, context]) => self.kubeconfig = Some((file, Some(context))),
            ("manifests", [_, ..]) => self.manifests.extend(&args),
            ("labels", [_, ..]) => self.source.labels = selector(cursor, &args)?,
            ("namespace_labels", [_, ..]) => self.source.namespace_labels = selector(cursor, &args)?,
            ("fallthrough", _) => self.options.fallthrough = Fallthrough::read(cursor, &args),
            ("multicluster", []) => {
                cursor.warn(option, "multicluster names no zone, so it has no effect");
                self.multicluster = Zones::default();
            }
            ("multicluster", _) => self.multicluster = Zones::read(cursor, &args, &[]),
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
            ("startup_timeout", [time, ..]) => self.options.startup_timeout = startup_timeout(cursor, time)?,
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
    fn check(&mut self, s: &Setup<'_>, cursor: &Cursor<'_>, zones: &[Name]) -> Result<()> {
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
        self.source.origin = self.origin(s, cursor)?;
        Ok(())
    }

    /// Where the data come from. Files that are not there are errors of their own, and reading goes on.
    fn origin(&self, s: &Setup<'_>, cursor: &Cursor<'_>) -> Result<Origin> {
        let from_api = self.endpoint.is_some() || self.tls.is_some() || self.kubeconfig.is_some();
        if !self.manifests.is_empty() && from_api {
            let message =
                "manifests takes the place of an API server: it cannot be set with endpoint, tls or kubeconfig";
            return Err(cursor.error(message));
        }
        let missing = |word: &Word, why: String| cursor.report(Severity::Error, cursor.complain(word, why));
        if !self.manifests.is_empty() {
            let paths: Vec<_> = self.manifests.iter().map(|word| s.path(word.as_str())).collect();
            for (word, path) in self.manifests.iter().zip(&paths) {
                let _ = manifests::check(path).map_err(|why| missing(word, why));
            }
            return Ok(Origin::Manifests(paths));
        }
        let (from, written) = match (self.kubeconfig, self.endpoint) {
            (Some((word, context)), _) => {
                let context = context.map(|context| context.as_str().to_owned());
                match s.file(cursor, word, &format!("kubeconfig {word}")) {
                    Some(file) => (ApiFrom::Kubeconfig { file, context }, word),
                    // The error is told: nothing is read from here.
                    None => return Ok(Origin::Api(ApiFrom::InCluster)),
                }
            }
            (None, Some(url)) => {
                let found = |words: [&Word; 3]| words.iter().filter_map(|word| s.file(cursor, word, "tls")).collect();
                let files: Option<Vec<PathBuf>> = self.tls.map(found);
                let tls = files.and_then(|files| files.try_into().ok());
                (ApiFrom::Endpoint { url: url.as_str().to_owned(), tls }, url)
            }
            (None, None) => return Ok(Origin::Api(ApiFrom::InCluster)),
        };
        let _ = watch::check(&from).map_err(|why| missing(written, why));
        Ok(Origin::Api(from))
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
