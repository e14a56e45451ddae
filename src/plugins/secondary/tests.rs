//! Zones copied from primaries that a script plays.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::chain::Proto;
use crate::testing::Server;
use crate::testing::live::Live;
use crate::wire::answer::Section;
use crate::wire::encode::{Encoder, Owner};
use crate::wire::name::Name;
use crate::wire::question::Question;
use crate::wire::types::{opcode, rtype};

/// What a primary does for one query.
enum Act {
    /// Sends these messages; see [`records`].
    Send(Vec<Vec<String>>),
    /// An error.
    Code(u8),
    /// Closes the connection.
    Close,
    /// Sends one address after the other, and never the last message.
    Drip,
}

/// A primary that notes what it is asked (`SOA`, `AXFR`, `IXFR`) and answers as its script says.
struct Primary {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<&'static str>>>,
}

impl Primary {
    fn start(script: impl Fn(&str, usize) -> Act + Send + Sync + 'static) -> Self {
        let ear = TcpListener::bind("127.0.0.1:0").expect("bound");
        let (address, asked) = (ear.local_addr().expect("bound"), Arc::<Mutex<Vec<&str>>>::default());
        let (noted, script) = (asked.clone(), Arc::new(script));
        // It ends with the test's process.
        std::thread::spawn(move || {
            for mut stream in ear.incoming().flatten() {
                let (noted, script) = (noted.clone(), script.clone());
                std::thread::spawn(move || {
                    let mut len = [0; 2];
                    while stream.read_exact(&mut len).is_ok() {
                        let mut query = vec![0; usize::from(u16::from_be_bytes(len))];
                        stream.read_exact(&mut query).expect("a query");
                        let qtype = match query[12 + 8..][..2] {
                            [0, 6] => "SOA",
                            [0, 252] => "AXFR",
                            [0, 251] => "IXFR",
                            _ => panic!("another type"),
                        };
                        let count = {
                            let mut noted = noted.lock().expect("no panic");
                            noted.push(qtype);
                            noted.iter().filter(|known| **known == qtype).count()
                        };
                        let messages = match script(qtype, count) {
                            Act::Send(messages) => messages,
                            Act::Code(code) => vec![vec![format!("rcode {code}")]],
                            Act::Close => return,
                            Act::Drip => {
                                let drip = message(&query, &["2".to_owned()]);
                                while send(&mut stream, &drip).is_ok() {
                                    std::thread::sleep(Duration::from_millis(20));
                                }
                                return;
                            }
                        };
                        for message in messages.iter().map(|lines| message(&query, lines)) {
                            send(&mut stream, &message).expect("sent");
                        }
                    }
                });
            }
        });
        Self { address, asked }
    }

    fn asked(&self) -> Vec<&'static str> {
        self.asked.lock().expect("no panic").clone()
    }
}

fn send(stream: &mut TcpStream, message: &[u8]) -> std::io::Result<()> {
    stream.write_all(&(message.len() as u16).to_be_bytes())?;
    stream.write_all(message)
}

/// A message with these records: `7` is the SOA record with this serial, `a 192.0.2.1` an address.
fn message(query: &[u8], lines: &[String]) -> Vec<u8> {
    let name = |text: &str| Name::from_text(text).expect("a name");
    let answer = Encoder::build(8, |e| {
        for line in lines {
            match line.split_once(' ') {
                None => {
                    let numbers = [line.parse().expect("a serial"), 3600_u32, 1, 86400, 5].map(u32::to_be_bytes);
                    let data = [name("ns.z.test").wire(), name("host.z.test").wire(), &numbers.concat()].concat();
                    e.record(Section::Answer, Owner::ASKED, rtype::SOA, 5, |e| e.put(&data));
                }
                Some(("rcode", code)) => e.rcode(code.parse().expect("a number")),
                Some((label, address)) => {
                    let owner = name(&format!("{label}.z.test"));
                    e.address(Section::Answer, Owner::name(&owner), 5, address.parse().expect("an address"));
                }
            }
        }
    });
    let mut message = answer.message(&Question::new(name("z.test"), u16::from_be_bytes([query[20], query[21]])));
    message[..2].copy_from_slice(&query[..2]);
    message
}

/// Messages: `/` is between them, `,` between records.
fn records(text: &str) -> Act {
    Act::Send(text.split('/').map(|message| message.split(',').map(str::to_owned).collect()).collect())
}

fn live(primaries: &str) -> Live {
    Live::new(&format!("z.test {{\nsecondary {{\ntransfer from {primaries}\n}}\n}}\n"))
}

fn text(live: &Live, name: &str) -> String {
    live.ask(name, "A").text()
}

/// Waits until the copy says this of a name.
fn wait(live: &Live, name: &str, wanted: &str) {
    live.wait_until(&format!("{name} is {wanted}"), || text(live, name) == wanted);
}

fn checks(live: &Live, result: &str) -> f64 {
    live.metric(&format!("signpost_secondary_checks_total{{result=\"{result}\"}}"))
}

/// Sends NOTIFY from 127.0.0.1. Returns the RCODE of its answer.
fn notify(live: &Live, zone: &str) -> String {
    let flags = u16::from(opcode::NOTIFY) << 11;
    let packet = Question::new(Name::from_text(zone).expect("a name"), rtype::SOA).query(9, flags, None);
    live.ask_packet(packet, Proto::Udp).text()
}

#[test]
fn a_zone_is_copied_and_renewed_when_its_primary_says_so() {
    let primary = Primary::start(|qtype, count| match (qtype, count) {
        ("AXFR", 1) => Act::Close,
        ("AXFR", 2) => Act::Code(5),
        ("AXFR", _) => records("1/a 192.0.2.1,b 192.0.2.2/1"),
        ("SOA", 1) => records("1"),
        ("SOA", _) => records("2"),
        _ => records("2,1,a 192.0.2.1,2,a 192.0.2.7,c 192.0.2.3,2"),
    });
    let live = live(&primary.address.to_string());
    wait(&live, "a.z.test.", "NOERROR 192.0.2.1/5");
    assert_eq!((primary.asked(), checks(&live, "failed"), checks(&live, "copied")), (vec!["AXFR"; 3], 2.0, 1.0));
    assert_eq!((text(&live, "z.test."), text(&live, "x.z.test.")), ("NOERROR".to_owned(), "NXDOMAIN".to_owned()));
    assert_eq!(notify(&live, "z.test."), "NOERROR");
    live.wait_until("the serial is looked at", || checks(&live, "current") == 1.0);
    assert_eq!(notify(&live, "Z.test."), "NOERROR");
    wait(&live, "a.z.test.", "NOERROR 192.0.2.7/5");
    assert_eq!(
        (text(&live, "b.z.test."), text(&live, "c.z.test.")),
        ("NOERROR 192.0.2.2/5".into(), "NOERROR 192.0.2.3/5".into())
    );
    assert_eq!(primary.asked()[3..], ["SOA", "SOA", "IXFR"]);
}

#[test]
fn the_next_primary_is_asked_and_the_whole_zone_where_there_are_no_changes() {
    let broken = Primary::start(|_, _| records("1,a 192.0.2.66/2"));
    let good = Primary::start(|qtype, count| match (qtype, count) {
        ("AXFR", 1) => records("4294967295,a 192.0.2.1,4294967295"),
        ("AXFR", _) => records("1,a 192.0.2.2,1"),
        ("SOA", _) => records("1"),
        _ => Act::Code(4),
    });
    let live = live(&format!("{} {}", broken.address, good.address));
    wait(&live, "a.z.test.", "NOERROR 192.0.2.1/5");
    // The serial wraps around.
    assert_eq!(notify(&live, "z.test."), "NOERROR");
    wait(&live, "a.z.test.", "NOERROR 192.0.2.2/5");
    assert_eq!(good.asked(), ["AXFR", "SOA", "IXFR", "AXFR"]);
}

#[test]
fn notify_is_for_zones_that_are_copied_and_from_their_primaries() {
    let primary = Primary::start(|_, _| records("1,a 192.0.2.1,1"));
    let live = live(&primary.address.to_string());
    wait(&live, "a.z.test.", "NOERROR 192.0.2.1/5");
    let elsewhere = Live::new("z.test {\nsecondary {\ntransfer from 192.0.2.1\n}\n}\n");
    assert_eq!(notify(&elsewhere, "z.test."), "REFUSED");
    let notifies =
        |live: &Live, result: &str| live.metric(&format!("signpost_secondary_notifies_total{{result=\"{result}\"}}"));
    assert_eq!((notifies(&elsewhere, "refused"), notifies(&live, "accepted")), (1.0, 0.0));
    for _ in 0..100 {
        assert_eq!(notify(&live, "z.test."), "NOERROR");
    }
    live.wait_until("a check is made", || primary.asked().len() > 1);
    assert!(primary.asked().len() < 10, "{:?}", primary.asked());
}

/// Filters choose the block for a NOTIFY as for a query.
#[test]
fn notify_goes_to_the_block_that_a_view_chooses() {
    let block = |view: &str, expr: &str, primary: &str| {
        format!("z.test {{\nview {view} {{\nexpr {expr}\n}}\nsecondary {{\ntransfer from {primary}\n}}\n}}\n")
    };
    for (no, yes, wanted) in [("127.0.0.1", "192.0.2.1", "REFUSED"), ("192.0.2.1", "127.0.0.1", "NOERROR")] {
        let text = block("no", "port() == '0'", no) + &block("yes", "port() != '0'", yes);
        assert_eq!(notify(&Live::new(&text), "z.test."), wanted, "{text}");
    }
}

#[test]
fn a_copy_that_nobody_confirms_is_too_old() {
    let primary = Primary::start(
        |qtype, count| if (qtype, count) == ("AXFR", 1) { records("1,a 192.0.2.1,1") } else { Act::Close },
    );
    let live = live(&primary.address.to_string());
    wait(&live, "a.z.test.", "NOERROR 192.0.2.1/5");
    age(&live, &primary);
    wait(&live, "a.z.test.", "SERVFAIL");
}

/// Makes the copy too old.
fn age(live: &Live, primary: &Primary) {
    let key = format!("secondary z.test. [{}]", primary.address);
    let copied = live.server.host.shared.get_or_make(&key, || -> super::copy::Copied { panic!("it is shared") });
    copied.age();
}

#[test]
fn a_copy_is_too_old_also_while_a_primary_sends_without_an_end() {
    let primary = Primary::start(|qtype, count| match (qtype, count) {
        ("AXFR", 1) => records("1,a 192.0.2.1,1"),
        ("SOA", _) => records("2"),
        ("AXFR", _) => Act::Drip,
        _ => Act::Close,
    });
    let live = live(&primary.address.to_string());
    wait(&live, "a.z.test.", "NOERROR 192.0.2.1/5");
    notify(&live, "z.test.");
    live.wait_until("the zone is asked for again", || {
        primary.asked().iter().filter(|asked| **asked == "AXFR").count() > 1
    });
    age(&live, &primary);
    wait(&live, "a.z.test.", "SERVFAIL");
}

/// A primary that answers after the copy has expired confirms it all the same.
#[test]
fn a_copy_that_is_confirmed_late_is_served_again() {
    let (tell, told) = std::sync::mpsc::channel();
    let told = Mutex::new(told);
    let primary = Primary::start(move |qtype, _| match qtype {
        "SOA" => {
            let _ = told.lock().expect("no panic").recv();
            records("1")
        }
        _ => records("1,a 192.0.2.1,1"),
    });
    let live = live(&primary.address.to_string());
    wait(&live, "a.z.test.", "NOERROR 192.0.2.1/5");
    notify(&live, "z.test.");
    live.wait_until("the serial is asked for", || primary.asked().contains(&"SOA"));
    age(&live, &primary);
    wait(&live, "a.z.test.", "SERVFAIL");
    tell.send(()).expect("the primary waits");
    wait(&live, "a.z.test.", "NOERROR 192.0.2.1/5");
}

#[test]
fn what_the_directive_refuses() {
    let wrong = |lines: &str| Server::refusal(&format!("secondary {lines}\nwhoami"));
    let near = "plugin/secondary: Corefile:";
    assert_eq!(
        wrong("{\nfallthrough\n}"),
        format!("{near}4 - Error during parsing: secondary zones require a transfer from property")
    );
    assert_eq!(
        wrong("{\ntransferr from 192.0.2.1\n}"),
        format!("{near}3 - Error during parsing: unknown property 'transferr'")
    );
    assert_eq!(wrong("{\ntransfer to 192.0.2.1\n}"), format!("{near}3 - Error during parsing: unknown property to"));
    assert_eq!(wrong("{\ntransfer from *\n}"), format!("{near}3 - can't use '*' in transfer from"));
    assert_eq!(wrong("{\ntransfer from ns.test\n}"), format!("{near}3 - must specify an IP address: `ns.test'"));
    assert_eq!(
        wrong("a.test b.test {\ntransfer from 192.0.2.1 [::1]:5300\ntransfer from ::1\nfallthrough a.test\n}"),
        ""
    );
}
