//! `signpost compare` between running servers.

use std::process::{Command, Output};

use crate::support::Server;

const COREFILE: &str = ".:PORT {\n  kubernetes cluster.local {\n    manifests objects.yaml\n  }\n}\n";

fn service(name: &str, address: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: shop}}\n\
         spec: {{clusterIP: {address}, clusterIPs: [{address}], ports: [{{name: http, port: 80, protocol: TCP}}]}}\n"
    )
}

fn compare(ours: &Server, theirs: &Server, questions: &str) -> Output {
    let file = ours.folder.path().join("questions");
    std::fs::write(&file, questions).expect("written");
    Command::new(env!("CARGO_BIN_EXE_signpost"))
        .args(["compare", "-rate", "1000", "-server", &ours.address().to_string()])
        .args(["-against", &theirs.address().to_string(), "-questions"])
        .arg(file)
        .output()
        .expect("runs")
}

#[test]
fn only_what_differs_is_printed() {
    let objects = [service("web", "10.96.0.7"), service("db", "10.96.0.8")].join("---\n");
    let changed = [service("web", "10.96.0.7"), service("db", "10.96.0.9")].join("---\n");
    let (ours, theirs) = (
        Server::start(COREFILE, &[("objects.yaml", &changed)]),
        Server::start(COREFILE, &[("objects.yaml", &objects)]),
    );
    let questions = "web.shop.svc.cluster.local A\n\
        [INFO] 10.244.0.5:4321 - 47 \"A IN db.shop.svc.cluster.local. udp 44 false 1232\" NOERROR qr,aa,rd 86 0.0001s\n\
        none.shop.svc.cluster.local AAAA\n";
    let output = compare(&ours, &theirs, questions);
    let (us, them) = (ours.address(), theirs.address());
    let wanted = format!(
        "db.shop.svc.cluster.local. A\n    \
             answer lacks db.shop.svc.cluster.local. A 10.96.0.8\n    \
             answer has   db.shop.svc.cluster.local. A 10.96.0.9\n\
         3 questions to {us} and {them}: 2 answered the same, 1 differ, 0 change by themselves\n"
    );
    assert_eq!(String::from_utf8_lossy(&output.stdout), wanted);
    assert_eq!(output.status.code(), Some(1));
    let output = compare(&theirs, &theirs, questions);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn what_cannot_be_tried_is_said() {
    let run = |arguments: &[&str]| Command::new(env!("CARGO_BIN_EXE_signpost")).args(arguments).output().expect("runs");
    let output = run(&["compare", "-against", "127.0.0.1", "-questions", "/nowhere"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "/nowhere: No such file or directory (os error 2)\n");
}
