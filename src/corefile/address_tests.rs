//! Tests of server keys and zones.

use super::*;
use crate::corefile::{Vocabulary, parse};

fn shown(keys: &str) -> std::result::Result<Vec<String>, String> {
    let vocabulary = Vocabulary { served: &["whoami"], elsewhere: &[] };
    let corefile =
        parse(&format!("{keys} {{\n}}\n"), "Corefile", &|_| None, &vocabulary).map_err(|error| error.to_string())?;
    let keys = super::keys(&corefile.blocks[0], "53").map_err(|error| error.to_string())?;
    Ok(keys.iter().map(ToString::to_string).collect())
}

fn refused(keys: &str) -> String {
    let message = shown(keys).expect_err("the key is wrong");
    message.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn schemes_have_their_ports() {
    let expected =
        ["dns://.:53", "tls://a.:853", "quic://a.:853", "grpc://a.:443", "https://a.:443", "https3://a.:443"];
    let keys = shown("dns://. tls://a quic://a grpc://a https://a https3://a").expect("good keys");
    assert_eq!(keys, expected);
    assert_eq!(shown("DNS://.:1053"), Ok(vec!["dns://dns://.:1053".to_owned()]), "schemes are lower case");
}

#[test]
fn a_port_is_a_number_behind_the_last_colon() {
    assert_eq!(shown("Example.ORG:0053"), Ok(vec!["dns://example.org.:53".to_owned()]));
    assert_eq!(shown("a:5:6"), Ok(vec!["dns://a:5.:6".to_owned()]));
    assert_eq!(shown(".:-5"), Ok(vec!["dns://.:-5".to_owned()]), "refused later");
    assert_eq!(
        refused(".:domain"),
        "error inspecting server blocks: Corefile:1 - zone is not a valid domain name: .:domain"
    );
    assert_eq!(refused(".:"), "error inspecting server blocks: Corefile:1 - expecting data after last colon: \".:\"");
    assert_eq!(refused("dns://"), "error inspecting server blocks: Corefile:1 - expecting data after last colon: \"\"");
    assert_eq!(refused(":53"), "error inspecting server blocks: Corefile:1 - zone is not a valid domain name: ");
}

#[test]
fn networks_become_reverse_zones_in_place() {
    let keys = shown("10.0.0.0/23:1053 example.org:1054").expect("good keys");
    assert_eq!(keys, ["dns://0.0.10.in-addr.arpa.:1053", "dns://1.0.10.in-addr.arpa.:1053", "dns://example.org.:1054"]);
    assert_eq!(refused("::1/128:53"), "error inspecting server blocks: Corefile:1 - invalid CIDR ::1/128");
    assert_eq!(shown("10.0/16"), Ok(vec!["dns://10.0/16.:53".to_owned()]));
}

#[test]
fn lengths_are_those_of_miekg_dns() {
    let label = "a".repeat(63);
    assert!(shown(&format!("{label}.org")).is_ok());
    assert!(refused(&format!("{label}a.org")).contains("zone is not a valid domain name"));
    let long = format!("{label}.{label}.{label}.{}", "a".repeat(62));
    assert_eq!(long.len(), 254);
    assert!(shown(&long).is_ok());
    assert!(refused(&format!("{long}a")).contains("specified zone is too long: 256 > 255"), "with its dot");
    assert!(refused(&format!("{long}aa")).contains("specified zone is too long: 256 > 255"));
}

#[test]
fn escapes_count_as_what_they_stand_for() {
    assert!(is_domain_name("a\\.b") && is_domain_name("a\\046b") && is_domain_name("a\\\\"));
    assert!(!is_domain_name("a\\"));
    assert!(is_qualified("a.") && !is_qualified("a\\.") && is_qualified("a\\\\."));
}

#[test]
fn a_word_names_one_zone_or_those_of_a_network() {
    assert_eq!(expand_zone("Example.org:53"), Ok(vec!["example.org.".to_owned()]));
    assert_eq!(expand_zone("10.0.0.0/15").map(|zones| zones.len()), Ok(2));
    assert_eq!(expand_zone("a..b"), Err("zone is not a valid domain name: a..b".to_owned()));
}

#[test]
fn zones_that_look_odd_are_told() {
    for zone in [".", "example.org.", "0.10.in-addr.arpa.", "a-b.c1."] {
        assert!(is_hostname(zone), "{zone}");
    }
    for zone in ["_tcp.org.", "1a.org.", "a-.org.", "ip6_x.", "bücher.example.", "example.org/zone."] {
        assert!(!is_hostname(zone), "{zone}");
    }
    assert!(!is_reverse("in-addr.arpa."));
}
