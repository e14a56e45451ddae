//! # geoip — say where a client is
//!
//! Looks up the client's address in a database in the MMDB format, as MaxMind, DB-IP and others
//! offer it, and publishes the result for *view*, *log*, *rewrite* and *template*. The block needs
//! *metadata* for that.
//!
//! ## Syntax
//!
//! ```text
//! geoip FILE {
//! }
//! ```
//!
//! **FILE** is a database of cities, countries or autonomous systems. It is read into memory when
//! the configuration is loaded: a newer file is used from the next reload on. A value is looked up
//! when it is read.
//!
//! | label | value |
//! |---|---|
//! | `geoip/city/name`, `geoip/country/name`, `geoip/continent/name` | names in English |
//! | `geoip/country/code`, `geoip/continent/code` | `GB`, `EU` |
//! | `geoip/subdivisions/code` | codes of regions, the largest first: `ENG,CAM` |
//! | `geoip/country/is_in_european_union` | `true` or `false` |
//! | `geoip/latitude`, `geoip/longitude`, `geoip/timezone`, `geoip/postalcode` | `52.2242`, `0.1315`, `Europe/London`, `CB4` |
//! | `geoip/asn/number`, `geoip/asn/org` | the autonomous system |
//!
//! A value that the database does not have is an empty text.
//!
//! ## Examples
//!
//! ```text
//! example.org {
//!     view europe {
//!         expr metadata('geoip/continent/code') == 'EU'
//!     }
//!     metadata
//!     geoip /var/lib/geoip/GeoLite2-City.mmdb
//!     hosts {
//!         192.0.2.80 www.example.org
//!     }
//! }
//! ```

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use maxminddb::{PathElement, Reader};

use crate::chain::doc::doc_of;
use crate::chain::metadata::Publisher;
use crate::chain::options::{OptionOf, OptionsOf, set};
use crate::chain::setup::{Registration, Setup};
use crate::chain::{Plugin, Query};
use crate::corefile::value::quote;
use crate::corefile::{Cursor, Word};
use crate::error::{Result, words};

/// The registration of this plugin.
pub const PLUGIN: Registration = Registration { name: "geoip", setup, doc: doc_of!("geoip.rs"), options: &[&OPTIONS] };

/// The code of a client's network (RFC 7871).
const SUBNET: u16 = 8;

/// Types of databases with cities or countries, as CoreDNS knows them.
const CITIES: &[&str] = &[
    "DBIP-City-Lite",
    "DBIP-Country",
    "DBIP-Country-Lite",
    "DBIP-ISP (compat=Enterprise)",
    "DBIP-Location (compat=City)",
    "DBIP-Location-ISP (compat=Enterprise)",
    "GeoIP-City-Redacted-US",
    "GeoIP-Enterprise-Redacted-US",
    "GeoIP2-City",
    "GeoIP2-City-Africa",
    "GeoIP2-City-Asia-Pacific",
    "GeoIP2-City-Europe",
    "GeoIP2-City-North-America",
    "GeoIP2-City-South-America",
    "GeoIP2-Country",
    "GeoIP2-Enterprise",
    "GeoIP2-Precision-City",
    "GeoLite2-City",
    "GeoLite2-Country",
];

/// Types of databases with autonomous systems.
const SYSTEMS: &[&str] = &["DBIP-ASN-Lite (compat=GeoLite2-ASN)", "GeoIP2-ISP", "GeoIP2-Precision-ISP", "GeoLite2-ASN"];

/// A database and how the client's address is found.
struct Geo {
    database: Reader<Vec<u8>>,
    has_cities: bool,
    has_systems: bool,
    /// Whether an address in the query's EDNS options is looked up in place of its source address.
    edns_subnet: bool,
}

//----------- Setup ----------------------------------------------------------

fn setup(s: &mut Setup<'_>) -> Result<()> {
    let mut cursor = s.cursor();
    let (mut file, mut edns_subnet) = (None, false);
    while cursor.next_occurrence() {
        let word = cursor.expect_arg()?;
        if file.replace(word).is_some() {
            return Err(cursor.error_at(word, "configuring multiple databases is not supported"));
        }
        if !cursor.args().is_empty() {
            return Err(cursor.arg_err());
        }
        OPTIONS.read(&mut cursor, &mut edns_subnet, s)?;
    }
    let file = file.unwrap_or(cursor.word());
    let geo = Arc::new(Geo { edns_subnet, ..read(&cursor, file)? });
    if !s.has_metadata() {
        cursor.warn(file, "without `metadata` in the server block nothing can read what geoip knows");
    }
    s.publish("geoip", geo.clone());
    s.chain_shared(geo);
    Ok(())
}

static OPTIONS: OptionsOf<bool> = OptionsOf {
    all: &[OptionOf {
        name: "edns-subnet",
        form: "",
        about: "The client's network in the query's EDNS options (RFC 7871), if it is there, counts in place of the \
                address that the query came from.",
        read: |cursor, edns_subnet, _| set(cursor, edns_subnet),
    }],
    unknown: |word| format!("Error during parsing: unknown property {}", quote(word.as_str())),
};

fn read(cursor: &Cursor<'_>, file: &Word) -> Result<Geo> {
    let failed = |why: String| cursor.error_at(file, format!("failed to open database file: {why}"));
    let octets = std::fs::read(file.as_str()).map_err(|why| failed(format!("open {file}: {}", words(&why))))?;
    let database = Reader::from_source(octets).map_err(|why| failed(why.to_string()))?;
    let kind = database.metadata().database_type.clone();
    let (has_cities, has_systems) = (CITIES.contains(&&*kind), SYSTEMS.contains(&&*kind));
    if !has_cities && !has_systems {
        let complaint = failed(format!("geoip2: reader does not support the {} database type", quote(&kind)));
        return Err(complaint);
    }
    Ok(Geo { database, has_cities, has_systems, edns_subnet: false })
}

//----------- Values ---------------------------------------------------------

/// How a value is read.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Bool,
    Float,
    Number,
    /// The codes of all elements of a list.
    Codes,
}

/// Labels behind `geoip/`, where their values stand in a record, and how they are read.
const LABELS: &[(&str, &[&str], Kind)] = &[
    ("city/name", &["city", "names", "en"], Kind::Text),
    ("country/name", &["country", "names", "en"], Kind::Text),
    ("continent/name", &["continent", "names", "en"], Kind::Text),
    ("country/code", &["country", "iso_code"], Kind::Text),
    ("continent/code", &["continent", "code"], Kind::Text),
    ("subdivisions/code", &["subdivisions"], Kind::Codes),
    ("country/is_in_european_union", &["country", "is_in_european_union"], Kind::Bool),
    ("latitude", &["location", "latitude"], Kind::Float),
    ("longitude", &["location", "longitude"], Kind::Float),
    ("timezone", &["location", "time_zone"], Kind::Text),
    ("postalcode", &["postal", "code"], Kind::Text),
    ("asn/number", &["autonomous_system_number"], Kind::Number),
    ("asn/org", &["autonomous_system_organization"], Kind::Text),
];

/// Maximum number of regions of one record.
const REGIONS: usize = 8;

impl Geo {
    /// Returns the address to look up.
    fn client(&self, query: &Query<'_>) -> IpAddr {
        let peer = query.client.peer.ip().to_canonical();
        if !self.edns_subnet {
            return peer;
        }
        let mut options = query.own_options();
        let subnet = options.find(|option| option.code == SUBNET);
        subnet.and_then(|option| address(option.data)).unwrap_or(peer)
    }

    /// Returns the value at a path of the record of an address; empty if there is none, and `None`
    /// if the database cannot have the address.
    fn find(&self, address: IpAddr, path: &[&str], kind: Kind) -> Option<String> {
        let record = self.database.lookup(address).ok()?;
        let path: Vec<PathElement<'_>> = path.iter().map(|key| PathElement::Key(key)).collect();
        let text = |path: &[PathElement<'_>]| record.decode_path::<String>(path).ok().flatten();
        Some(match kind {
            Kind::Text => text(&path).unwrap_or_default(),
            Kind::Bool => record.decode_path::<bool>(&path).ok().flatten().unwrap_or_default().to_string(),
            Kind::Number => record.decode_path::<u32>(&path).ok().flatten().unwrap_or_default().to_string(),
            Kind::Float => {
                let number = record.decode_path::<f64>(&path).ok().flatten();
                number.map(|number| number.to_string()).unwrap_or_default()
            }
            Kind::Codes => {
                // A region without a code has an empty one, as in CoreDNS.
                let code = |index| {
                    let region = [&path[..], &[PathElement::Index(index)]].concat();
                    record.decode_path::<serde::de::IgnoredAny>(&region).ok().flatten()?;
                    Some(text(&[&region[..], &[PathElement::Key("iso_code")]].concat()).unwrap_or_default())
                };
                (0..REGIONS).map_while(code).collect::<Vec<_>>().join(",")
            }
        })
    }
}

impl Publisher for Geo {
    fn value<'a>(&'a self, label: &str, query: &'a Query<'_>) -> Option<Cow<'a, str>> {
        let label = label.strip_prefix("geoip/")?;
        let (_, path, kind) = LABELS.iter().find(|(known, ..)| *known == label)?;
        let has_it = if label.starts_with("asn/") { self.has_systems } else { self.has_cities };
        if has_it { self.find(self.client(query), path, *kind).map(Cow::Owned) } else { None }
    }
}

/// Reads the address in a client's network (RFC 7871 section 6): octets at its end may be missing.
fn address(data: &[u8]) -> Option<IpAddr> {
    let (&[_, family, _, _], octets) = data.split_first_chunk()?;
    let mut whole = [0; 16];
    let len = if family == 1 { 4 } else { 16 };
    whole.get_mut(..octets.len()).filter(|_| octets.len() <= len)?.copy_from_slice(octets);
    match family {
        1 => whole.first_chunk::<4>().map(|four| IpAddr::V4(Ipv4Addr::from(*four))),
        2 => Some(IpAddr::V6(Ipv6Addr::from(whole))),
        _ => None,
    }
}

/// The seat does nothing; it is there so that metrics show it.
impl Plugin for Geo {}

#[cfg(test)]
#[path = "geoip_tests.rs"]
mod tests;
