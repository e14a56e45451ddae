//! What prevents a start, and the messages.

use std::io::{Read, Write};

use super::support::{Server, connect, free_port, run};

fn refused(corefile: &str, wanted: &[&str]) {
    let (status, printed) = run(corefile, &[], &[]);
    assert_eq!(status, 1, "{printed}");
    for text in wanted {
        assert!(printed.contains(text), "{text:?} is not in:\n{printed}");
    }
}

#[test]
fn a_corefile_error_names_file_line_word_and_what_would_be_right() {
    refused(".:1053 {\n    erors\n}\n", &["Corefile:2 - ", "    erors", "^^^^^", "errors"]);
    refused(".:1053 {\n    cache 0\n}\n", &["plugin/cache", "Corefile:2", "0"]);
    refused(".:1053 {\n    kubernetes cluster.local {\n        pod insecure\n    }\n}\n", &["Corefile:3", "'pods'"]);
}

#[test]
fn a_plugin_that_is_not_here_yet_is_named() {
    refused(".:1053 {\n    nomad\n}\n", &["Corefile:2", "nomad", "CoreDNS"]);
}

#[test]
fn a_missing_corefile_is_named() {
    let (status, printed) = run("", &[], &["-conf", "nowhere/Corefile"]);
    assert_eq!(status, 1);
    assert!(printed.contains("nowhere/Corefile") && printed.contains("no such file"), "{printed}");
}

#[test]
fn a_port_in_use_is_an_error() {
    for both in [true, false] {
        let port = free_port();
        // Even a socket with SO_REUSEPORT keeps the port: sharing it in silence would lose half of
        // all queries.
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).expect("a socket");
        socket.set_reuse_port(both).expect("an option");
        let address: std::net::SocketAddr = ([127, 0, 0, 1], port).into();
        socket.bind(&address.into()).expect("binds");
        refused(
            &format!(".:{port} {{\n    bind 127.0.0.1\n    whoami\n}}\n"),
            &["address already in use", &format!("`ss -lunp 'sport = :{port}'`"), "`bind` in the Corefile"],
        );
    }
    let port = free_port();
    let _taken = std::net::TcpListener::bind(("127.0.0.1", port)).expect("binds");
    let page = format!(".:{} {{\n    bind 127.0.0.1\n    health 127.0.0.1:{port}\n    whoami\n}}\n", free_port());
    let advice = format!("`ss -ltnp 'sport = :{port}'`");
    refused(
        &page,
        &[
            &format!("plugin/health: Corefile:3 - listen tcp 127.0.0.1:{port}: bind: address already in use"),
            &advice,
            "/health in the",
        ],
    );
}

#[test]
fn an_address_that_is_not_here_is_refused_with_those_that_are() {
    let port = free_port();
    let wanted = ["cannot assign requested address", "help: this machine has ", "127.0.0.1"];
    let address = format!(".:{port} {{\n    bind 127.0.0.1 192.0.2.77\n    whoami\n}}\n");
    refused(
        &address,
        &[
            &wanted[..],
            &["Corefile:2 - Listen", "  2 |     bind 127.0.0.1 192.0.2.77\n    |                    ^^^^^^^^^^\n"],
        ]
        .concat(),
    );
    let page = format!(".:{port} {{\n    bind 127.0.0.1\n    ready 192.0.2.77:8181\n    whoami\n}}\n");
    refused(&page, &["listen tcp 192.0.2.77:8181", wanted[0], wanted[1], "/ready in the Corefile"]);
    refused(
        &format!(".:{port} {{\n    bind nonesuch0\n    whoami\n}}\n"),
        &["Corefile:2", "\"nonesuch0\"", "help: interfaces with addresses here: ", "lo"],
    );
}

#[test]
fn files_that_are_no_corefile_are_told_apart() {
    let says = |arguments: &[&str], wanted: &[&str]| {
        let (status, printed) = run("", &[("folder/Corefile", ""), ("sixteen", "")], arguments);
        assert_eq!(status, 1, "{printed}");
        wanted.iter().for_each(|text| assert!(printed.contains(text), "{text:?} is not in:\n{printed}"));
    };
    says(&["-conf", "folder"], &["open folder: is a directory", "help: ", "-conf folder/Corefile"]);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("sixteen");
    let text: Vec<u8> = "\u{feff}. {\n}\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    std::fs::write(&file, text).expect("writes");
    says(&["-conf", &file.display().to_string()], &["this is UTF-16", "iconv"]);
}

#[test]
fn what_the_kubernetes_plugin_lacks_is_said_with_what_to_do() {
    let corefile = |option: &str| format!(".:{} {{\n    bind 127.0.0.1\n    kubernetes {option}\n}}\n", free_port());
    refused(
        &corefile("cluster.local"),
        &["plugin/kubernetes: Corefile:3 - ", "KUBERNETES_SERVICE_HOST", "help: every Pod has them", "kubeconfig FILE"],
    );
    let with = |file: &str, context: &str| corefile(&format!("cluster.local {{\n kubeconfig {file} {context}\n }}"));
    refused(&with("nowhere.yaml", ""), &["kubeconfig nowhere.yaml: open nowhere.yaml: no such file or directory"]);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("config");
    let name = file.display().to_string();
    std::fs::write(&file, "{contexts: [{name: one, context: {cluster: a, user: a}}]}").expect("writes");
    refused(&with(&name, ""), &[&name, "no context is named, and it has no current-context; it has one"]);
    refused(&with(&name, "two"), &["there is no context \"two\" in it; it has one"]);
    let lost = "{current-context: one, contexts: [{name: one, context: {cluster: a, user: a}}], clusters: [{name: a, cluster: \
                {server: \"https://127.0.0.1:1\", certificate-authority: /nowhere/ca.pem}}], users: [{name: a, user: {token: x}}]}";
    std::fs::write(&file, lost).expect("writes");
    refused(&with(&name, ""), &[&name, "open /nowhere/ca.pem: no such file or directory\n"]);
    std::fs::write(&file, "contexts: [").expect("writes");
    refused(&with(&name, ""), &[&name, "line 1"]);
}

#[test]
fn a_file_without_name_servers_is_named() {
    let (status, printed) =
        run(".:1053 {\n    forward . resolv.conf\n}\n", &[("resolv.conf", "search a\n")], &["-validate"]);
    assert_eq!(status, 1);
    assert!(
        printed.contains("Corefile:2") && printed.contains("no line `nameserver ADDRESS` in resolv.conf"),
        "{printed}"
    );
}

/// Such words used to be accepted, looked up at the start, and queried if a resolver answers
/// everything.
#[test]
fn upstreams_that_cannot_be_are_refused_and_what_is_looked_up_is_said() {
    let validate = |to: &str| run(&format!(".:1053 {{\n    forward . {to}\n}}\n"), &[], &["-validate"]);
    let (status, printed) = validate("192.0.2.1, 192.0.2.x __PILLAR__UPSTREAM__SERVERS__ 192.0.2.2");
    assert_eq!(status, 1, "{printed}");
    for (word, help) in [
        ("192.0.2.1,", "help: separate upstreams by blanks: write '192.0.2.1'"),
        ("192.0.2.x", "help: this stands for an address; fill in"),
        ("__PILLAR__UPSTREAM__SERVERS__", "help: this word is replaced in the template of a node cache"),
    ] {
        let wrong = format!("Corefile:2 - Error during parsing: not an IP address, file, or valid domain: \"{word}\"");
        assert!(printed.contains(&wrong) && printed.contains(help), "{word}: {printed}");
    }
    let (status, printed) = validate("dns.example.org 192.0.2.1");
    assert_eq!(status, 0, "{printed}");
    let note = "note: plugin/forward: Corefile:2 - the host name dns.example.org is looked up when the server starts";
    assert!(printed.contains(note), "{printed}");
}

/// One of each kind of missing thing, and invalid zones.
const FULL_OF_MISTAKES: &str = ".:1053 {
    health bla:a
    tls nowhere/a.crt nowhere/a.key
    kubernetes cluster.local {
        kubeconfig nowhere/config
        fallthrough x..y
    }
    cache exa..mple
    forward . tls://192.0.2.1 {
        tls nowhere/ca.crt
        except q..r
    }
}
other.example:1053 {
    kubernetes cluster.local {
        endpoint https://192.0.2.1
        tls nowhere/b.crt nowhere/b.key nowhere/b.ca
    }
    acl bad..zone {
        block
    }
}
third.example:1053 {
    kubernetes cluster.local {
        manifests nowhere/objects.yaml
    }
    errrors
}
";

#[test]
fn validate_goes_on_after_what_is_missing() {
    let corefile = FULL_OF_MISTAKES.replace("    errrors\n", "");
    let (status, printed) = run(&corefile, &[], &["-validate"]);
    assert_eq!(status, 1, "{printed}");
    for (line, word, what) in [
        (2, "bla:a", "plugin/health: Corefile:2 - Error during parsing: address bla:a: invalid port"),
        (
            3,
            "nowhere/a.crt",
            "plugin/tls: Corefile:3 - Error during parsing: could not load TLS cert: open nowhere/a.crt: no such",
        ),
        (
            3,
            "nowhere/a.key",
            "plugin/tls: Corefile:3 - Error during parsing: could not load TLS cert: open nowhere/a.key: no such",
        ),
        (
            5,
            "nowhere/config",
            "plugin/kubernetes: Corefile:5 - Error during parsing: kubeconfig nowhere/config: open nowhere/config",
        ),
        (6, "x..y", "warning: plugin/kubernetes: Corefile:6 - zone is not a valid domain name: x..y; it is ignored"),
        (
            8,
            "exa..mple",
            "warning: plugin/cache: Corefile:8 - zone is not a valid domain name: exa..mple; it is ignored",
        ),
        (
            10,
            "nowhere/ca.crt",
            "plugin/forward: Corefile:10 - Error during parsing: error reading nowhere/ca.crt: open nowhere/ca.crt",
        ),
        (11, "q..r", "warning: plugin/forward: Corefile:11 - zone is not a valid domain name: q..r; it is ignored"),
        (17, "nowhere/b.crt", "plugin/kubernetes: Corefile:17 - Error during parsing: tls: open nowhere/b.crt"),
        (17, "nowhere/b.key", "plugin/kubernetes: Corefile:17 - Error during parsing: tls: open nowhere/b.key"),
        (17, "nowhere/b.ca", "plugin/kubernetes: Corefile:17 - Error during parsing: tls: open nowhere/b.ca"),
        (
            19,
            "bad..zone",
            "warning: plugin/acl: Corefile:19 - zone is not a valid domain name: bad..zone; it is ignored",
        ),
        (19, "acl", "plugin/acl: Corefile:19 - this rule holds for no name"),
        (
            25,
            "nowhere/objects.yaml",
            "plugin/kubernetes: Corefile:25 - manifests nowhere/objects.yaml: no such file or directory",
        ),
    ] {
        let text = corefile.lines().nth(line - 1).expect("a line");
        let caret = " ".repeat(text.find(word).expect("the word")) + &"^".repeat(word.len());
        let gap = " ".repeat(line.to_string().len());
        let shown = format!("\n  {line} | {text}\n  {gap} | {caret}\n");
        let found = printed.lines().any(|line| line.starts_with(what)) && printed.contains(&shown);
        assert!(found, "{what}{shown}is not in:\n{printed}");
    }
    assert!(!printed.contains("the Corefile is valid"), "{printed}");
    let (status, printed) = run(&corefile, &[], &[]);
    let is_first = printed.starts_with("plugin/health: Corefile:2 - ") && !printed.contains("plugin/tls");
    assert!(status == 1 && is_first, "a start names the first: {printed}");
}

#[test]
fn a_corefile_with_warnings_is_valid_and_starts() {
    let corefile = ".:PORT {\n    bind 127.0.0.1\n    cache exa..mple\n    whoami\n}\n";
    let (status, printed) = run(corefile.replace("PORT", "1053").as_str(), &[], &["-validate"]);
    let warning = "warning: plugin/cache: Corefile:3 - zone is not a valid domain name: exa..mple; it is ignored";
    assert!(status == 0 && printed.contains(warning) && printed.contains("the Corefile is valid"), "{printed}");
    let server = Server::start(corefile, &[]);
    server.wait_for(
        "[WARNING] plugin/cache: Corefile:3 - zone is not a valid domain name: exa..mple; it is ignored; a label",
    );
}

#[test]
fn a_page_without_a_port_takes_a_free_one_and_the_log_says_which() {
    let corefile = ".:PORT {\nbind 127.0.0.1\nhealth 127.0.0.1:\nready 127.0.0.1:0\nprometheus localhost:\nwhoami\n}\n";
    let server = Server::start(corefile, &[]);
    for path in ["/health", "/ready", "/metrics"] {
        let said = format!("[INFO] {path} is served at http://");
        server.wait_for(&said);
        let output = server.output();
        let line = output.lines().find_map(|line| line.strip_prefix(&said)).expect("the line");
        let address = line.strip_suffix(path).and_then(|address| address.parse().ok());
        let mut stream = connect(address.expect("an address"));
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").expect("sends");
        let mut page = String::new();
        stream.read_to_string(&mut page).expect("a page");
        assert!(page.starts_with("HTTP/1.0 200") || page.starts_with("HTTP/1.1 200"), "{path}: {page}");
    }
}

#[test]
fn with_json_whatever_keeps_it_from_starting_is_one_record() {
    let port = free_port();
    let taken = std::net::TcpListener::bind(("127.0.0.1", port)).expect("binds");
    let page = format!(".:{} {{\nbind 127.0.0.1\nhealth 127.0.0.1:{port}\n}}\n", free_port());
    let blocked = format!(".:{port} {{\nbind 127.0.0.1\n}}\n");
    let node = "-localip 127.0.0.1 -setupinterface=false -setupiptables=false -basecorefile /none -conf /none";
    for (corefile, arguments, plugin, place, message) in [
        (".:1053 {\n  cache 0\n}\n", "", "cache", "Corefile:2", "can not be zero"),
        (".:1053 {\n  \"a\nb\u{1}\"\n}\n", "", "", "Corefile:2", "Unknown directive"),
        ("a..b {\n}\n", "", "", "Corefile:1", "error inspecting server blocks: Corefile:1 - "),
        (".:1053 {\n  kubernetes cluster.local\n}\n", "", "kubernetes", "Corefile:2", "KUBERNETES_SERVICE_HOST"),
        (&*page, "", "health", "Corefile:3", "address already in use"),
        (&*blocked, "", "", "Corefile:2", "address already in use"),
        ("", "-conf nowhere", "", "", "open nowhere: no such file"),
        ("", "-nonsense", "", "", "flag provided but not defined: -nonsense"),
        ("", "-p", "", "", "flag needs an argument: -p"),
        ("", "-localip \"\\\u{7}", "", "", "-localip"),
        ("", node, "", "", "open /none"),
    ] {
        let arguments: Vec<&str> = ["-log-format", "json"].into_iter().chain(arguments.split_whitespace()).collect();
        let (status, printed) = run(corefile, &[], &arguments);
        assert_ne!(status, 0, "{printed}");
        let records: Vec<serde_json::Value> =
            printed.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{printed}"))).collect();
        let fatal: Vec<_> = records.iter().filter(|record| record["level"] == "FATAL").collect();
        let [record] = fatal[..] else { panic!("not one record: {printed}") };
        assert!(
            record["time"].is_string() && record["msg"].as_str().is_some_and(|msg| msg.contains(message)),
            "{record}"
        );
        assert_eq!(record["plugin"].as_str().unwrap_or_default(), plugin, "{record}");
        let named = record["file"].as_str().map(|file| format!("{file}:{}", record["line"])).unwrap_or_default();
        assert_eq!(named, place, "{record}");
    }
    drop(taken);
}

#[test]
fn with_json_every_finding_is_a_record() {
    let (status, printed) = run(FULL_OF_MISTAKES, &[], &["-validate", "-log-format", "json"]);
    assert_eq!(status, 1, "what cannot be read is alone: {printed}");
    assert_eq!(printed.lines().count(), 1, "{printed}");
    let (_, printed) = run(&FULL_OF_MISTAKES.replace("    errrors\n", ""), &[], &["-validate", "-log-format", "json"]);
    let levels = printed.lines().map(|line| {
        let record: serde_json::Value = serde_json::from_str(line).expect("a record");
        assert!(record["file"] == "Corefile" && record["word"].is_string(), "{record}");
        record["level"].as_str().expect("a level").to_owned()
    });
    let levels: Vec<String> = levels.collect();
    let count = |wanted: &str| levels.iter().filter(|level| *level == wanted).count();
    assert_eq!((count("ERROR"), count("WARN"), levels.len()), (10, 4, 14), "{printed}");
    let (status, printed) = run(".:1053 {\nwhoami\n}\n", &[], &["-validate", "-log-format", "json"]);
    assert!(status == 0 && printed.contains("\"msg\":\"the Corefile is valid\""), "{printed}");
}

#[test]
fn validate_opens_nothing() {
    let port = free_port();
    let taken = std::net::TcpListener::bind(("127.0.0.1", port)).expect("binds");
    let corefile =
        format!(".:{port} {{\n    bind 127.0.0.1\n    health :{port}\n    kubernetes cluster.local\n    whoami\n}}\n");
    let (status, printed) = run(&corefile, &[], &["-validate"]);
    assert_eq!(status, 0, "{printed}");
    drop(taken);
    let (status, _) = run(".:1053 {\n    whoareyou\n}\n", &[], &["-validate"]);
    assert_eq!(status, 1);
}

#[test]
fn without_a_server_block_whoami_is_served() {
    let (status, printed) = run("# nothing\n", &[], &["-validate", "-p", "1053"]);
    assert_eq!((status, printed.contains(".:1053")), (0, true), "{printed}");
}
