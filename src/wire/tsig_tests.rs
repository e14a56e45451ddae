//! Signatures that other programs have made, and signatures of ours as a client checks them.

use super::super::request::{Gate, gate};
use super::*;
use crate::testing::kit::message::{query, request};
use crate::testing::kit::signed::ClientKey;

/// `abcdefghijklmnopqrstuvwxyz`, the secret of the packets below.
const SECRET: &[u8] = b"abcdefghijklmnopqrstuvwxyz";

/// Packets of BIND's `dig` and Knot's `kdig`, with the time of their signatures.
const PACKETS: [(&str, &str, u64); 5] = [
    (
        "dig -y hmac-sha256:Key.test",
        "b5ab012000010000000000020161076578616d706c65000001000100002904d0000000000000036b657904746573740000fa00ff00000000003d\
         0b686d61632d7368613235360000006b0c3e08012c0020c730f45ae4f6cff1c88bb2fd30ddaa467a4f5b6874ca6b74b74367ca9f595c5cb5ab00\
         000000",
        0x6b0c_3e08,
    ),
    (
        "kdig -y hmac-sha224:key.test",
        "9a75012000010000000000010161076578616d706c650000010001036b657904746573740000fa00ff0000000000390b686d61632d7368613232\
         340000006b0c3e09012c001cfb29b315983557d532e65d7967b14ffb979be51d816d4ca2e4b9a8ac9a7500000000",
        0x6b0c_3e09,
    ),
    (
        "dig -y hmac-sha512-256:key.test",
        "b6d9012000010000000000020161076578616d706c65000001000100002904d0000000000000036b657904746573740000fa00ff00000000003d\
         0b686d61632d7368613531320000006b0c3e0a012c0020df06a0061c9741135fc5406da25025db6bfc85a4ddf17281e00a0d613cb8c644b6d900\
         000000",
        0x6b0c_3e0a,
    ),
    (
        "dig -y hmac-md5:key.test",
        "3d93012000010000000000020161076578616d706c65000001000100002904d0000000000000036b657904746573740000fa00ff00000000003a\
         08686d61632d6d6435077369672d616c670372656703696e740000006b0c3e0b012c001073aa5d9af06c0c8d959f08b0218d42353d9300000000",
        0x6b0c_3e0b,
    ),
    (
        "dig -y hmac-sha1:key.test +noedns",
        "d662012000010000000000010161076578616d706c650000010001036b657904746573740000fa00ff00000000002f09686d61632d7368613100\
         00006b0c3e0c012c00144f75be421590b8c66f73b5253a4b7bcbbfa23fb4d66200000000",
        0x6b0c_3e0c,
    ),
];

fn packet(number: usize) -> (Vec<u8>, u64) {
    let (_, hex, time) = PACKETS[number];
    let octet = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
    ((0..hex.len()).step_by(2).map(octet).collect(), time)
}

fn secret() -> Arc<[u8]> {
    SECRET.into()
}

/// What is found of a packet at a time.
fn found(packet: &[u8], now: u64) -> Result<Option<Fault>, BadTsig> {
    let tsig = find(packet, &request(packet))?.expect("a TSIG record");
    tsig.check(Some(&secret()), now).map(|signer| signer.fault())
}

#[test]
fn signatures_of_other_programs_are_checked() {
    for (number, wanted) in [(0, None), (1, None), (2, Some(Fault::BadTrunc)), (3, Some(Fault::BadKey)), (4, None)] {
        let (packet, time) = packet(number);
        assert_eq!(found(&packet, time), Ok(wanted), "{}", PACKETS[number].0);
        let late = if wanted == Some(Fault::BadKey) { wanted } else { Some(Fault::BadTime) };
        assert_eq!(found(&packet, time + 300), Ok(wanted), "the last second");
        assert_eq!((found(&packet, time + 301), found(&packet, time - 301)), (Ok(late), Ok(late)));
    }
}

#[test]
fn each_octet_counts() {
    let (good, time) = packet(0);
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        // The gate refuses some; the id may be another, since the original one is signed.
        let Gate::Pass(request) = gate(&bad) else { continue };
        let accepted = matches!(find(&bad, &request), Ok(Some(tsig)) if tsig.key.to_string() == "key.test."
            && tsig.check(Some(&secret()), time).is_ok_and(|signer| signer.fault().is_none()));
        assert_eq!(accepted, at < 2, "octet {at}");
    }
    let tsig = find(&good, &request(&good));
    let signer = tsig.expect("well-formed").expect("a record").check(None, time).expect("a length");
    assert_eq!(signer.fault(), Some(Fault::BadKey));
}

#[test]
fn where_the_record_stands_and_what_it_has() {
    let (good, _) = packet(4);
    let plain = query("a.test", 1);
    assert!(matches!(find(&plain, &request(&plain)), Ok(None)));
    // Behind `key.test.` and ten octets stand `hmac-sha1.`, 48 bits of time, the fudge, and then
    // the length of the signature.
    let at = find(&good, &request(&good)).expect("well-formed").expect("a record").at;
    let data = at + 10 + 10;
    for (at, octet, what) in [
        (at + 13, 1, "class"),
        (at + 15, 1, "TTL"),
        (data + 11 + 9, 0x15, "a longer signature than the data"),
        (data + 11 + 9, 0x13, "a shorter signature than the data"),
        (good.len() - 1, 1, "other data that are not there"),
        (data, 0xC0, "a name of an algorithm that leads ahead"),
    ] {
        let mut bad = good.clone();
        bad[at] = octet;
        assert!(matches!(find(&bad, &request(&bad)), Err(BadTsig)), "{what}");
    }
    // Another record behind it.
    let mut before = good.clone();
    before[11] = 2;
    before.extend_from_slice(&[0, 0, 41, 4, 0, 0, 0, 0, 0, 0, 0]);
    assert!(matches!(find(&before, &request(&before)), Err(BadTsig)));
    // Two of them.
    let mut two = good.clone();
    two[11] = 2;
    two.extend_from_slice(&good[at..]);
    assert!(matches!(find(&two, &request(&two)), Err(BadTsig)));
}

#[test]
fn a_signature_has_at_least_ten_octets_and_half_of_its_length() {
    let key = ClientKey::read("hmac-sha512:key.test:YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXo=").expect("a key");
    let whole = key.sign(&query("a.test", 1), 1000);
    let cut = |len: usize| {
        let (mac, end) = (whole.len() - 6 - 64, whole.len() - 6);
        let mut cut = [&whole[..mac + len], &whole[end..]].concat();
        cut[mac - 1] = len as u8;
        let data = mac - 10 - 13;
        let octets = u16::from_be_bytes([whole[data - 2], whole[data - 1]]) - 64 + len as u16;
        cut[data - 2..data].copy_from_slice(&octets.to_be_bytes());
        found(&cut, 1000)
    };
    assert_eq!(cut(64), Ok(None));
    assert_eq!((cut(63), cut(32)), (Ok(Some(Fault::BadTrunc)), Ok(Some(Fault::BadTrunc))));
    assert_eq!((cut(31), cut(0)), (Err(BadTsig), Err(BadTsig)));
}

#[test]
fn replies_are_signed_one_after_the_other() {
    for key in [
        "hmac-sha256:key.test:YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXo=",
        "hmac-sha512:key.test:YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXo=",
    ] {
        let key = ClientKey::read(key).expect("a key");
        let asked = key.sign(&query("a.test", 1), 1000);
        for (now, error) in [(1100, 0), (2000, 18)] {
            let tsig = find(&asked, &request(&asked)).expect("well-formed").expect("a record");
            let signer = tsig.check(Some(&secret()), now).expect("a length");
            let mut before = key.mac_of(&asked).to_vec();
            for message in 0..3 {
                let mut out = b"in front".to_vec();
                let start = out.len();
                out.extend_from_slice(&query("a.test", 1));
                let unsigned = out.clone();
                signer.sign(&mut out, start, now);
                assert_eq!(out.len() - unsigned.len(), signer.added());
                let signed = key.check(&out[start..], &before, message == 0).expect("a signature");
                assert_eq!((signed.message.as_slice(), signed.error), (&unsigned[start..], error));
                let other = if error == 0 { (now, vec![]) } else { (1000, vec![0, 0, 0, 0, 7, 208]) };
                assert_eq!((signed.time, signed.other), other, "of BADTIME: the client's time, and ours");
                before = signed.mac;
            }
        }
    }
}
