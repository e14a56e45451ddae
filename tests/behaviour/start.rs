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
            &["address already in use", &port.to_string()],
        );
    }
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
