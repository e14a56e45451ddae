//! What keeps the server from starting, and how it says so.

use super::support::{free_port, run};

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
    refused(".:1053 {\n    dnssec\n}\n", &["Corefile:2", "dnssec", "CoreDNS"]);
}

#[test]
fn a_missing_corefile_is_named() {
    let (status, printed) = run("", &[], &["-conf", "nowhere/Corefile"]);
    assert_eq!(status, 1);
    assert!(printed.contains("nowhere/Corefile") && printed.contains("no such file"), "{printed}");
}

#[test]
fn a_port_that_somebody_has_is_noticed() {
    for both in [true, false] {
        let port = free_port();
        // Even a socket with SO_REUSEPORT keeps the port: sharing it in silence would lose half of all queries.
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
    refused(&page, &[&format!("listen tcp 127.0.0.1:{port}: bind: address already in use"), &advice, "/health in the"]);
}

#[test]
fn an_address_that_is_not_here_is_refused_with_those_that_are() {
    let port = free_port();
    let wanted = ["cannot assign requested address", "help: this machine has ", "127.0.0.1"];
    refused(&format!(".:{port} {{\n    bind 192.0.2.77\n    whoami\n}}\n"), &wanted);
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
    refused(&corefile("cluster.local"), &["KUBERNETES_SERVICE_HOST", "help: every Pod has them", "kubeconfig FILE"]);
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
    refused(&with(&name, ""), &[&name, "/nowhere/ca.pem: No such file or directory\n"]);
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
