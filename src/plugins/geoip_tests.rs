//! Values from a database that is made here, octet by octet.

use std::io::Write;

use super::PLUGIN;
use crate::testing::{Server, packet};
use crate::wire::answer::Section;

/// A value of a database (MaxMind DB file format 2.0).
enum Item<'a> {
    Text(&'a str),
    Small(u16),
    Number(u32),
    Large(u64),
    Float(f64),
    Yes,
    List(Vec<Item<'a>>),
    Map(Vec<(&'a str, Item<'a>)>),
}

impl Item<'_> {
    /// Appends the value: a control octet with type and size, and the data.
    fn put(&self, out: &mut Vec<u8>) {
        let control = |kind: u8, size: usize, out: &mut Vec<u8>| {
            let size = u8::try_from(size).expect("a short value");
            let (first, more) = if size < 29 { (size, None) } else { (29, Some(size - 29)) };
            if kind < 8 {
                out.push(kind << 5 | first);
            } else {
                out.extend([first, kind - 7]);
            }
            out.extend(more);
        };
        match self {
            Self::Text(text) => {
                control(2, text.len(), out);
                out.extend_from_slice(text.as_bytes());
            }
            Self::Float(number) => {
                control(3, 8, out);
                out.extend_from_slice(&number.to_be_bytes());
            }
            Self::Small(number) => {
                control(5, 2, out);
                out.extend_from_slice(&number.to_be_bytes());
            }
            Self::Large(number) => {
                control(9, 8, out);
                out.extend_from_slice(&number.to_be_bytes());
            }
            Self::Number(number) => {
                control(6, 4, out);
                out.extend_from_slice(&number.to_be_bytes());
            }
            Self::Map(items) => {
                control(7, items.len(), out);
                for (key, item) in items {
                    Item::Text(key).put(out);
                    item.put(out);
                }
            }
            Self::List(items) => {
                control(11, items.len(), out);
                items.iter().for_each(|item| item.put(out));
            }
            Self::Yes => control(14, 1, out),
        }
    }
}

/// Writes a database of IPv4 that knows a record for 192.0.0.0/2.
fn database(kind: &str, record: &Item<'_>) -> tempfile::NamedTempFile {
    // Two nodes of two records of 24 bits; 2 means nothing, 18 the first octet of the data.
    let mut octets = vec![0, 0, 2, 0, 0, 1, 0, 0, 2, 0, 0, 18];
    octets.extend_from_slice(&[0; 16]);
    record.put(&mut octets);
    octets.extend_from_slice(b"\xAB\xCD\xEFMaxMind.com");
    let metadata = Item::Map(vec![
        ("binary_format_major_version", Item::Small(2)),
        ("binary_format_minor_version", Item::Small(0)),
        ("build_epoch", Item::Large(1_790_000_000)),
        ("database_type", Item::Text(kind)),
        ("description", Item::Map(Vec::new())),
        ("ip_version", Item::Small(4)),
        ("languages", Item::List(Vec::new())),
        ("node_count", Item::Number(2)),
        ("record_size", Item::Small(24)),
    ]);
    metadata.put(&mut octets);
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(&octets).expect("written");
    file
}

fn city() -> tempfile::NamedTempFile {
    let names = |name| ("names", Item::Map(vec![("de", Item::Text("x")), ("en", Item::Text(name))]));
    let region = |code| Item::Map(vec![("iso_code", Item::Text(code))]);
    let record = Item::Map(vec![
        ("city", Item::Map(vec![names("Cambridge")])),
        ("continent", Item::Map(vec![("code", Item::Text("EU")), names("Europe")])),
        ("country", Item::Map(vec![("iso_code", Item::Text("GB")), ("is_in_european_union", Item::Yes)])),
        ("location", Item::Map(vec![("latitude", Item::Float(52.2242)), ("time_zone", Item::Text("Europe/London"))])),
        ("subdivisions", Item::List(vec![region("ENG"), Item::Map(Vec::new()), region("CAM")])),
    ]);
    database("GeoLite2-City", &record)
}

/// Returns what a client reads of a database under a label, by a template.
fn value(file: &tempfile::NamedTempFile, options: &str, label: &str, query: &[u8], client: &str) -> String {
    let path = file.path().display();
    let server = Server::new(&format!(
        ". {{\nmetadata\ngeoip {path} {{\n{options}\n}}\ntemplate IN A {{\n\
         var value '<' + metadata('{label}') + '>'\nanswer \"{{{{ .Name }}}} TXT \\\"{{{{ .Var.value }}}}\\\"\"\n}}\n}}\n"
    ));
    let (_, reply) = server.outcome(query, client.parse().expect("an address")).expect("a reply");
    let record = reply.answer.section(Section::Answer).next().expect("a record");
    String::from_utf8(record.rdata[1..].to_vec()).expect("text")
}

#[test]
fn what_a_database_of_cities_says() {
    assert_eq!(PLUGIN.name, "geoip");
    let (file, asked) = (city(), packet("a.example.", "A"));
    for (label, wanted) in [
        ("geoip/city/name", "<Cambridge>"),
        ("geoip/continent/code", "<EU>"),
        ("geoip/continent/name", "<Europe>"),
        ("geoip/country/code", "<GB>"),
        ("geoip/country/name", "<>"),
        ("geoip/country/is_in_european_union", "<true>"),
        ("geoip/latitude", "<52.2242>"),
        ("geoip/longitude", "<>"),
        ("geoip/timezone", "<Europe/London>"),
        ("geoip/subdivisions/code", "<ENG,,CAM>"),
        ("geoip/asn/number", "<>"),
        ("geoip/other", "<>"),
    ] {
        assert_eq!(value(&file, "", label, &asked, "192.0.2.1:5"), wanted, "{label}");
    }
    // The database has no record of these.
    assert_eq!(value(&file, "", "geoip/country/is_in_european_union", &asked, "10.0.0.1:5"), "<false>");
    assert_eq!(value(&file, "", "geoip/country/is_in_european_union", &asked, "[2001:db8::1]:5"), "<>");
}

#[test]
fn a_network_in_the_options_counts_if_that_is_asked_for() {
    let (file, mut asked) = (city(), packet("a.example.", "A"));
    let at = asked.len() - 2;
    asked[at..].copy_from_slice(&[0, 11]);
    asked.extend_from_slice(&[0, 8, 0, 7, 0, 1, 24, 0, 192, 0, 2]);
    assert_eq!(value(&file, "", "geoip/country/code", &asked, "10.0.0.1:5"), "<>");
    assert_eq!(value(&file, "edns-subnet", "geoip/country/code", &asked, "10.0.0.1:5"), "<GB>");
}

#[test]
fn autonomous_systems() {
    let record = Item::Map(vec![
        ("autonomous_system_number", Item::Number(64_496)),
        ("autonomous_system_organization", Item::Text("Example")),
    ]);
    let (file, asked) = (database("GeoLite2-ASN", &record), packet("a.example.", "A"));
    assert_eq!(value(&file, "", "geoip/asn/number", &asked, "192.0.2.1:5"), "<64496>");
    assert_eq!(value(&file, "", "geoip/asn/org", &asked, "192.0.2.1:5"), "<Example>");
    assert_eq!(value(&file, "", "geoip/city/name", &asked, "192.0.2.1:5"), "<>");
}

#[test]
fn what_is_wrong_is_told() {
    let (city, other) = (city(), database("Other", &Item::Map(Vec::new())));
    let (city, other) = (city.path().display().to_string(), other.path().display().to_string());
    for (directive, wanted) in [
        ("geoip".to_owned(), "Wrong argument count"),
        (
            "geoip /nowhere.mmdb".to_owned(),
            "failed to open database file: open /nowhere.mmdb: no such file or directory",
        ),
        ("geoip /dev/null".to_owned(), "failed to open database file"),
        (format!("geoip {other}"), "does not support the \"Other\" database type"),
        (format!("geoip {city} x"), "Wrong argument count"),
        (format!("geoip {city}\ngeoip {city}"), "configuring multiple databases is not supported"),
        (format!("geoip {city} {{\nfoo\n}}"), "unknown property \"foo\""),
    ] {
        let error = Server::try_new(&format!(". {{\n{directive}\nwhoami\n}}\n")).err().expect("an error").to_string();
        assert!(error.contains(wanted), "{directive}: {error}");
    }
}
