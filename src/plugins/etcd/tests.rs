//! What the directive refuses and CoreDNS takes. Questions are asked of a real etcd in
//! `tests/behaviour/etcd.rs`.

use crate::testing::Server;

#[test]
fn an_endpoint_is_a_url() {
    let refusal = Server::refusal("etcd {\nendpoint unix:///x\n}");
    assert_eq!(refusal, "plugin/etcd: Corefile:3 - endpoint \"unix:///x\" is no URL of http or https");
}
