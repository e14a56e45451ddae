//! Tests of values; most expect what Go answers.

use super::*;

#[test]
fn durations_are_go_durations() {
    let nanos = |text: &str| duration(text).map(|span| span.nanos);
    assert_eq!(nanos("0"), Ok(0));
    assert_eq!(nanos("-0"), Ok(0));
    assert_eq!(nanos("1h30m"), Ok(5_400_000_000_000));
    assert_eq!(nanos("1.5h"), Ok(5_400_000_000_000));
    assert_eq!(nanos("-300ms"), Ok(-300_000_000));
    assert_eq!(nanos("+.5s"), Ok(500_000_000));
    assert_eq!(nanos("5.s"), Ok(5_000_000_000));
    assert_eq!(nanos("1us1\u{b5}s1\u{3bc}s7ns"), Ok(3_007));
    assert_eq!(nanos("-9223372036854775808ns"), Ok(i64::MIN));
    assert_eq!(nanos("0.3333333333333333333h"), Ok(1_200_000_000_000));
}

#[test]
fn wrong_durations_are_named_as_go_names_them() {
    let error = |text: &str| duration(text).expect_err("no duration");
    assert_eq!(error("5"), "time: missing unit in duration \"5\"");
    assert_eq!(error(""), "time: invalid duration \"\"");
    assert_eq!(error("often"), "time: invalid duration \"often\"");
    assert_eq!(error("."), "time: invalid duration \".\"");
    assert_eq!(error("3d"), "time: unknown unit \"d\" in duration \"3d\"");
    assert_eq!(error("9223372036854775808ns"), "time: invalid duration \"9223372036854775808ns\"");
    assert_eq!(error("99999999999999999999h"), "time: invalid duration \"99999999999999999999h\"");
    assert_eq!(error("1h "), "time: unknown unit \"h \" in duration \"1h \"");
}

#[test]
fn spans_are_printed_as_go_prints_durations() {
    let shown = |text: &str| duration(text).map(|span| span.to_string());
    for text in ["0s", "1ns", "1.5µs", "300ms", "-5s", "1m0s", "1h0m0.5s", "2540400h10m10s"] {
        assert_eq!(shown(text).as_deref(), Ok(text));
    }
    assert_eq!(shown("90m").as_deref(), Ok("1h30m0s"));
}

#[test]
fn numbers_are_go_numbers() {
    assert_eq!(integer("+30"), Ok(30));
    assert_eq!(integer("-007"), Ok(-7));
    assert_eq!(integer("30s"), Err("strconv.Atoi: parsing \"30s\": invalid syntax".to_owned()));
    assert_eq!(
        integer("9223372036854775808"),
        Err("strconv.Atoi: parsing \"9223372036854775808\": value out of range".to_owned())
    );
    assert_eq!(integer("+"), Err("strconv.Atoi: parsing \"+\": invalid syntax".to_owned()));
    assert_eq!(unsigned("65535", 16), Ok(65535));
    assert_eq!(unsigned("65536", 16), Err("strconv.ParseUint: parsing \"65536\": value out of range".to_owned()));
    assert_eq!(unsigned("+1", 32), Err("strconv.ParseUint: parsing \"+1\": invalid syntax".to_owned()));
    assert_eq!(float(".5"), Ok(0.5));
}

#[test]
fn host_and_port_are_split_as_go_splits_them() {
    assert_eq!(host_port(":8080"), Ok(("", "8080")));
    assert_eq!(host_port("[::1]:53"), Ok(("::1", "53")));
    assert_eq!(host_port("localhost:"), Ok(("localhost", "")));
    for (text, why) in [
        ("8080", "missing port in address"),
        ("::1", "too many colons in address"),
        ("[::1]", "missing port in address"),
        ("[::1", "missing ']' in address"),
        ("[::1]x:1", "missing port in address"),
        ("[::1]:1:2", "too many colons in address"),
        ("a[b:1", "unexpected '[' in address"),
        ("a]b:1", "unexpected ']' in address"),
        ("[a[b]:1", "unexpected '[' in address"),
    ] {
        assert_eq!(host_port(text), Err(format!("address {text}: {why}")));
    }
}

#[test]
fn networks_need_a_length() {
    assert_eq!(cidr("10.0.0.5/24"), Some(Network { address: "10.0.0.5".parse().expect("an address"), length: 24 }));
    assert_eq!(cidr("2001:db8::/33").map(|network| network.length), Some(33));
    for text in
        ["10.0.0.0", "10.0.0.0/33", "10.0/16", "010.0.0.0/8", "::/129", "10.0.0.0/+8", "10.0.0.0/", "fe80::%1/64"]
    {
        assert_eq!(cidr(text), None, "{text}");
    }
}

#[test]
fn what_a_network_has() {
    let has = |network, address: &str| cidr(network).expect("a network").contains(address.parse().expect("an address"));
    for (network, inside, outside) in [
        ("10.1.2.3/16", "10.1.255.255", "10.2.0.0"),
        ("10.0.0.0/9", "10.127.0.1", "10.128.0.1"),
        ("192.0.2.1/32", "192.0.2.1", "192.0.2.0"),
        ("0.0.0.0/0", "255.255.255.255", "::"),
        ("2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::1"),
        ("::/0", "ff02::1", "0.0.0.0"),
    ] {
        assert!(has(network, inside) && !has(network, outside), "{network}");
    }
}

#[test]
fn ports_and_hosts_of_pages() {
    for (text, number) in [("", Some(0)), ("0", Some(0)), ("65535", Some(65535)), ("+80", Some(80)), ("http", Some(80))]
    {
        assert_eq!(port(text), number, "{text}");
    }
    for text in ["65536", "-1", "a", "8 0", "HTTP", "nope"] {
        assert_eq!(port(text), None, "{text}");
    }
    for text in ["localhost", "a.example.", "x_y-1.cluster", "10.0.0.1", "::1", "fe80::1%eth0", "1.a"] {
        assert!(is_host(text), "{text}");
    }
    for text in ["", ".", "a..b", "1.2.3.4.5", "192.168.xxx.1", "8.8.8.8,", "*", "a b", &"a".repeat(64)] {
        assert!(!is_host(text), "{text}");
    }
}
