//! The grammar of the Corefile against CoreDNS 1.15.0: verdict, line and servers of every case in
//! `corefiles/grammar.jsonl`, as far as the text alone decides them. Cases that a plugin's set-up
//! or a socket refuses only have to be readable here.

use std::path::Path;

use serde::Deserialize;
use signpost::corefile::overlap::{self, Wanted};
use signpost::corefile::{Corefile, Cursor, ServerBlock, Vocabulary, address, parse};
use signpost::error::{Error, Result};

#[derive(Deserialize)]
struct Case {
    id: String,
    corefile: String,
    verdict: String,
    error: String,
    line: Option<u32>,
    #[serde(default)]
    servers: Vec<String>,
    #[serde(default)]
    files: std::collections::BTreeMap<String, Option<String>>,
    #[serde(default)]
    env: std::collections::BTreeMap<String, String>,
}

#[test]
fn every_case_has_coredns_verdict_line_and_servers() {
    let cases = include_str!("corefiles/grammar.jsonl").lines();
    let wrong: Vec<String> = cases
        .map(|line| serde_json::from_str(line).expect("a case a line"))
        .filter_map(|case: Case| judge(&case).err().map(|why| format!("{}: {why}", case.id)))
        .collect();
    assert!(wrong.is_empty(), "{} cases differ:\n{}", wrong.len(), wrong.join("\n"));
}

fn judge(case: &Case) -> std::result::Result<(), String> {
    let dir = tempfile::tempdir().expect("a directory for the case");
    for (name, content) in case.files.iter().filter(|(name, _)| !name.starts_with('/')) {
        lay(&dir.path().join(name), content.as_deref());
    }
    let file = dir.path().join("Corefile");
    let env = |name: &str| case.env.get(name).cloned();
    let corefile = parse(&case.corefile, &file.to_string_lossy(), &env, &VOCABULARY);
    let beyond_text = BEYOND_TEXT.iter().any(|prefix| case.error.starts_with(prefix)) || case.id == "key-scheme-unix";
    if beyond_text {
        return corefile.and_then(|corefile| keys(&corefile)).map(|_| ()).map_err(|error| format!("refused: {error}"));
    }
    match corefile.and_then(|corefile| servers(&corefile)) {
        Ok(servers) if case.verdict == "accepted" && servers == case.servers => Ok(()),
        Ok(servers) => Err(format!("{} {:?}, not {servers:?}", case.verdict, case.servers)),
        Err(error) if case.verdict == "accepted" => Err(format!("refused: {error}")),
        Err(error) => compare(case, &error),
    }
}

fn lay(path: &Path, content: Option<&str>) {
    let Some(content) = content else {
        return std::fs::create_dir_all(path).expect("a directory of the case");
    };
    std::fs::create_dir_all(path.parent().expect("a parent")).expect("the file's directory");
    std::fs::write(path, content).expect("a file of the case");
}

/// Checks that an error names CoreDNS's line and uses its words.
fn compare(case: &Case, error: &Error) -> std::result::Result<(), String> {
    let Error::Corefile(complaint) = error else {
        return Err(format!("not a complaint: {error}"));
    };
    let line = complaint.position.as_ref().map(|position| position.line);
    if case.line.is_some() && case.line != line {
        return Err(format!("line {:?}, not {line:?}", case.line));
    }
    let theirs = case.error.rsplit(" - Error during parsing: ").next().unwrap_or_default();
    let theirs = theirs.rsplit(" - Syntax error: ").next().unwrap_or_default();
    let theirs = theirs.trim_start_matches("error inspecting server blocks: ");
    let ours = complaint.to_string();
    let ours = ours.lines().next().unwrap_or_default();
    // The path of an imported file is in the case's own directory.
    let tail = theirs.rsplit(": ").next().unwrap_or_default();
    if ours.ends_with(theirs) || ours.ends_with(tail) {
        Ok(())
    } else {
        Err(format!("says {ours:?}, not {:?}", case.error))
    }
}

/// Reads keys, ports and overlaps of a Corefile; returns the lines that it prints at start.
fn servers(corefile: &Corefile) -> Result<Vec<String>> {
    let keys = keys(corefile)?;
    let addresses: Vec<_> = corefile.blocks.iter().map(bind).collect();
    let wanted: Vec<_> = corefile
        .blocks
        .iter()
        .zip(keys.iter().zip(&addresses))
        .map(|(block, (keys, addresses))| Wanted { keys, addresses, filtered: block.directive("view").is_some() })
        .collect();
    overlap::check_ports(&wanted)?;
    overlap::check_overlaps(&wanted)?;
    let mut lines = Vec::new();
    for (keys, addresses) in keys.iter().zip(&addresses) {
        for key in keys {
            lines.extend(addresses.iter().map(|address| key.start_line(address)));
            lines.extend(addresses.is_empty().then(|| key.start_line("")));
        }
    }
    lines.sort_unstable();
    lines.dedup();
    Ok(lines)
}

fn keys(corefile: &Corefile) -> Result<Vec<Vec<address::Key>>> {
    corefile.blocks.iter().map(|block| address::keys(block, "53")).collect()
}

/// Returns the addresses that a block binds, without those that the plugin itself would refuse.
fn bind(block: &ServerBlock) -> Vec<String> {
    let Some(directive) = block.directive("bind") else {
        return Vec::new();
    };
    let mut cursor = Cursor::new(directive);
    let mut addresses = Vec::new();
    while cursor.next_occurrence() {
        addresses.extend(cursor.args().iter().map(ToString::to_string));
        while cursor.next_option() {
            cursor.args();
        }
    }
    addresses
}

/// Errors that reading the text does not find, and that come after those of text and keys.
const BEYOND_TEXT: &[&str] = &["plugin/", "Listen", "DoH3 requires TLS"];

/// All plugins of CoreDNS 1.15.0.
const VOCABULARY: Vocabulary<'static> = Vocabulary {
    served: &[
        "root",
        "metadata",
        "geoip",
        "cancel",
        "proxyproto",
        "quic",
        "grpc_server",
        "https",
        "https3",
        "timeouts",
        "multisocket",
        "reload",
        "nsid",
        "bufsize",
        "bind",
        "debug",
        "trace",
        "ready",
        "health",
        "pprof",
        "shed",
        "prometheus",
        "errors",
        "log",
        "dnstap",
        "local",
        "dns64",
        "siit",
        "any",
        "chaos",
        "loadbalance",
        "tsig",
        "rewrite",
        "autopath",
        "acl",
        "cache",
        "header",
        "dnssec",
        "tls",
        "minimal",
        "template",
        "transfer",
        "dynupdate",
        "hosts",
        "route53",
        "azure",
        "clouddns",
        "k8s_external",
        "kubernetes",
        "file",
        "auto",
        "secondary",
        "etcd",
        "loop",
        "forward",
        "grpc",
        "erratic",
        "whoami",
        "on",
        "sign",
        "view",
        "nomad",
    ],
    elsewhere: &[],
};
