//! The options of the directive as a table, and what is read for single ones.

use std::collections::HashSet;
use std::time::Duration;

use super::super::answers::options::Pods;
use super::super::old;
use super::super::reading::options::SnapshotOptions;
use super::super::reading::selector::Selector;
use super::reader::Reader;
use crate::chain::options::{OptionOf, OptionsOf, set};
use crate::chain::zones::{Fallthrough, Zones};
use crate::corefile::{Cursor, Word};
use crate::error::Result;

/// Complaints about the number of arguments name the last one, as CoreDNS does.
pub(in super::super) static OPTIONS: OptionsOf<Reader> = OptionsOf {
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
            name: "snapshot",
            form: "PATH [MAX_AGE]",
            about: "What is known is kept in this file. A process that starts without an API server answers from it \
                    if it is not older than MAX_AGE (24h). Not in CoreDNS.",
            read: |cursor, reader, s| {
                let args = cursor.args_of(1..=2)?;
                let max_age = args.get(1).map(|word| max_age(cursor, word)).transpose()?.unwrap_or(MAX_AGE);
                reader.snapshot = Some((args[0].clone(), SnapshotOptions { path: s.path(args[0].as_str()), max_age }));
                Ok(())
            },
        },
        OptionOf {
            name: "startup_timeout",
            form: "DURATION",
            about: "How long questions about the cluster wait for the first data, from the start of the process on (5s).",
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
    unknown: old::unknown_option,
};

/// How old a snapshot may be.
const MAX_AGE: Duration = Duration::from_secs(24 * 3600);

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

fn max_age(cursor: &Cursor<'_>, word: &Word) -> Result<Duration> {
    match cursor.duration(word)?.duration() {
        Some(age) if !age.is_zero() => Ok(age),
        _ => Err(cursor.error_at(word, format!("MAX_AGE must be positive: {word}"))),
    }
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
