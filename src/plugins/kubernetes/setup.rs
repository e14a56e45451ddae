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
use crate::chain::options::{OptionOf, OptionsOf, set};
use crate::chain::setup::Setup;
use crate::chain::zones::{Fallthrough, Zones};
use crate::corefile::address::is_reverse;
use crate::corefile::{Cursor, Severity, Word};
use crate::error::{Complaint, Result};
use crate::wire::name::Name;

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
    OPTIONS.read(cursor, &mut reader, s)?;
    reader.check(s, cursor, &zones)?;
    let Reader { options, source, multicluster, .. } = reader;
    Ok(Directive { zones, multicluster, primary, options, source, written })
}

//----------- Options --------------------------------------------------------

/// What the options say before they are seen together.
pub(super) struct Reader {
    options: Options,
    source: SourceOptions,
    multicluster: Zones,
    endpoint: Option<Word>,
    tls: Option<[Word; 3]>,
    kubeconfig: Option<(Word, Option<Word>)>,
    manifests: Vec<Word>,
}

impl Reader {
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

    /// Where the data come from. Files that are not there are errors of their own, and reading goes
    /// on.
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
        let (from, written) = match (&self.kubeconfig, &self.endpoint) {
            (Some((word, context)), _) => {
                let context = context.as_ref().map(|context| context.as_str().to_owned());
                match s.file(cursor, word, &format!("kubeconfig {word}")) {
                    Some(file) => (ApiFrom::Kubeconfig { file, context }, word),
                    // The error is told: nothing is read from here.
                    None => return Ok(Origin::Api(ApiFrom::InCluster)),
                }
            }
            (None, Some(url)) => {
                let found = |words: &[Word; 3]| words.iter().filter_map(|word| s.file(cursor, word, "tls")).collect();
                let files: Option<Vec<PathBuf>> = self.tls.as_ref().map(found);
                let tls = files.and_then(|files| files.try_into().ok());
                (ApiFrom::Endpoint { url: url.as_str().to_owned(), tls }, url)
            }
            (None, None) => return Ok(Origin::Api(ApiFrom::InCluster)),
        };
        let _ = watch::check(&from).map_err(|why| missing(written, why));
        Ok(Origin::Api(from))
    }
}

/// Complaints about the number of arguments name the last one, as CoreDNS does.
pub(super) static OPTIONS: OptionsOf<Reader> = OptionsOf {
    all: &[
        OptionOf {
            name: "apiserver_burst",
            form: "N",
            about: "Accepted without effect.",
            read: |cursor, _, _| whole_number(cursor),
        },
        OptionOf {
            name: "apiserver_max_inflight",
            form: "N",
            about: "Accepted without effect.",
            read: |cursor, _, _| whole_number(cursor),
        },
        OptionOf {
            name: "apiserver_qps",
            form: "N",
            about: "Accepted without effect.",
            read: |cursor, _, _| {
                let number = cursor.one_arg()?;
                at_least_zero(cursor, number, cursor.float(number)?)
            },
        },
        OptionOf {
            name: "endpoint",
            form: "URL",
            about: "The URL of the API server (the one that the service account of this Pod is for).",
            read: |cursor, reader, _| {
                reader.endpoint = Some(cursor.args_of(1..)?[0].clone());
                Ok(())
            },
        },
        OptionOf {
            name: "endpoint_pod_names",
            form: "",
            about: "Endpoints without a host name are named after their Pod.",
            read: |cursor, reader, _| set(cursor, &mut reader.source.endpoint_pod_names),
        },
        OptionOf {
            name: "fallthrough",
            form: "[ZONES...]",
            about: "Names in these zones (all) that do not exist are passed to the next plugin.",
            read: |cursor, reader, _| {
                let zones = cursor.args();
                reader.options.fallthrough = Fallthrough::read(cursor, &zones);
                Ok(())
            },
        },
        OptionOf {
            name: "ignore",
            form: "empty_service",
            about: "ClusterIP Services without ready endpoints are not served.",
            read: |cursor, reader, _| {
                match cursor.args().first() {
                    None => {}
                    Some(what) if what.as_str() == "empty_service" => reader.options.ignore_empty_service = true,
                    Some(what) => {
                        let message = format!("unable to parse ignore value: '{what}'");
                        return Err(cursor.unknown(what, message, &["empty_service"]));
                    }
                }
                Ok(())
            },
        },
        OptionOf {
            name: "kubeconfig",
            form: "FILE [CONTEXT]",
            about: "A kubeconfig file in place of `endpoint` and `tls`, and one of its contexts (the current one).",
            read: |cursor, reader, _| {
                let args = cursor.args_of(1..=2)?;
                reader.kubeconfig = Some((args[0].clone(), args.get(1).map(|context| (*context).clone())));
                Ok(())
            },
        },
        OptionOf {
            name: "labels",
            form: "EXPRESSION",
            about: "Only Services, EndpointSlices and Pods with such labels are served: `app in (web,db),!test`.",
            read: |cursor, reader, _| {
                let words = cursor.args_of(1..)?;
                reader.source.labels = selector(cursor, &words)?;
                Ok(())
            },
        },
        OptionOf {
            name: "manifests",
            form: "PATH...",
            about: "Files and folders of YAML or JSON take the place of an API server. Not in CoreDNS.",
            read: |cursor, reader, _| {
                reader.manifests.extend(cursor.args_of(1..)?.into_iter().cloned());
                Ok(())
            },
        },
        OptionOf {
            name: "multicluster",
            form: "[ZONES...]",
            about: "The zones in which ServiceImports are served (none); they must be among ZONES of the directive.",
            read: |cursor, reader, _| {
                let (option, words) = (cursor.word(), cursor.args());
                if words.is_empty() {
                    cursor.warn(option, "multicluster names no zone, so it has no effect");
                }
                reader.multicluster = Zones::read(cursor, &words, &[]);
                Ok(())
            },
        },
        OptionOf {
            name: "namespace_labels",
            form: "EXPRESSION",
            about: "Only namespaces with such labels are served. It cannot be set with `namespaces`.",
            read: |cursor, reader, _| {
                let words = cursor.args_of(1..)?;
                reader.source.namespace_labels = selector(cursor, &words)?;
                Ok(())
            },
        },
        OptionOf {
            name: "namespaces",
            form: "NAMESPACE...",
            about: "Only these namespaces are served (all).",
            read: |cursor, reader, _| {
                let words = cursor.args_of(1..)?;
                let labels =
                    words.iter().map(|word| word.as_str().to_ascii_lowercase().into_bytes().into_boxed_slice());
                reader.options.namespaces.get_or_insert_with(HashSet::new).extend(labels);
                Ok(())
            },
        },
        OptionOf {
            name: "noendpoints",
            form: "",
            about: "EndpointSlices are not watched: headless Services and single endpoints are not served.",
            read: |cursor, reader, _| {
                cursor.args_of(0..1)?;
                reader.source.endpoints = false;
                Ok(())
            },
        },
        OptionOf {
            name: "pods",
            form: "disabled|insecure|verified",
            about: "How names of Pods are answered: they do not exist (`disabled`, the default), each \
                    address has a name in each namespace that exists (`insecure`), or only addresses that a \
                    Pod of the namespace has (`verified`).",
            read: |cursor, reader, _| {
                let mode = cursor.one_arg()?;
                reader.options.pods = pods(cursor, mode)?;
                Ok(())
            },
        },
        OptionOf {
            name: "startup_timeout",
            form: "DURATION",
            about: "How long questions about the cluster wait for the first data at start (5s).",
            read: |cursor, reader, _| {
                let time = cursor.args_of(1..)?[0];
                reader.options.startup_timeout = startup_timeout(cursor, time)?;
                Ok(())
            },
        },
        OptionOf {
            name: "tls",
            form: "CERT KEY CACERT",
            about: "PEM files for `endpoint`: a client certificate, its key, and the authority of the API server.",
            read: |cursor, reader, _| {
                let [cert, key, ca] = cursor.args()[..] else { return Err(cursor.arg_err()) };
                reader.tls = Some([cert.clone(), key.clone(), ca.clone()]);
                Ok(())
            },
        },
        OptionOf {
            name: "ttl",
            form: "SECONDS",
            about: "The TTL of all records, 0 to 3600 (5).",
            read: |cursor, reader, _| {
                let seconds = cursor.args_of(1..)?[0];
                reader.options.ttl = ttl(cursor, seconds)?;
                Ok(())
            },
        },
        OptionOf {
            name: "zonal",
            form: "",
            about: "Serves the endpoints of a headless Service that are in one topology zone: \
                    `TOPOLOGY-ZONE.pin._zone.SERVICE.NAMESPACE.svc.ZONE` has these alone. With `prefer` \
                    in place of `pin` it has all endpoints if that zone has no endpoint. It cannot be set with `noendpoints`.",
            read: |cursor, reader, _| set(cursor, &mut reader.source.zonal),
        },
    ],
    unknown: super::old::unknown_option,
};

//----------- Single options -------------------------------------------------

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

fn whole_number(cursor: &mut Cursor<'_>) -> Result<()> {
    let word = cursor.one_arg()?;
    at_least_zero(cursor, word, cursor.integer(word)? as f64)
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
