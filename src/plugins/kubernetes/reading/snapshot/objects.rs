//! What is known as octets, and octets as objects that a store takes in.
//!
//! Each object is a record: an octet that says what it is, and its fields. The index does not have
//! the names of Pods, so each of their addresses becomes a Pod that is named after it.

use std::io::{self, Write};
use std::sync::Arc;

use super::octets::{Octets, put_ip, put_number, put_text};
use crate::plugins::kubernetes::known::addresses::Holders;
use crate::plugins::kubernetes::known::endpoints::{Address, AddressRef, Endpoint, EndpointRef};
use crate::plugins::kubernetes::known::index::Index;
use crate::plugins::kubernetes::known::model::{Kind, Object, Pod, Port, Reached, Service, Slice, Target};

//----------- Writing --------------------------------------------------------

/// Writes all that an index has, record by record.
///
/// # Errors
/// When `out` cannot be written to.
pub fn write(index: &Index, out: &mut impl Write) -> io::Result<()> {
    let mut records = Records { out, record: Vec::new() };
    for label in index.namespaces() {
        records.add(Kind::Namespace, |out| put_text(out, &String::from_utf8_lossy(&label)))?;
    }
    for (table, service, slice) in
        [(&index.services, Kind::Service, Kind::Slice), (&index.imports, Kind::Import, Kind::ImportSlice)]
    {
        for entry in table.all() {
            if let Some(known) = entry.service() {
                records.add(service, |out| put_service(out, known))?;
            }
            for known in entry.slices() {
                records.add(slice, |out| put_slice(out, known))?;
            }
        }
    }
    for (address, holders) in index.pods.all() {
        for namespace in namespaces(&holders) {
            records.add(Kind::Pod, |out| {
                put_text(out, &String::from_utf8_lossy(namespace));
                put_ip(out, address);
            })?;
        }
    }
    Ok(())
}

struct Records<'a, W> {
    out: &'a mut W,
    record: Vec<u8>,
}

impl<W: Write> Records<'_, W> {
    fn add(&mut self, kind: Kind, fill: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        self.record.clear();
        self.record.push(tag(kind));
        fill(&mut self.record);
        self.out.write_all(&self.record)
    }
}

/// Each namespace once: Pods on a node's network share its address.
fn namespaces(holders: &Holders) -> Vec<&[u8]> {
    let mut all: Vec<&[u8]> = holders.names().collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn put_service(out: &mut Vec<u8>, service: &Service) {
    put_text(out, &service.namespace);
    put_text(out, &service.name);
    match &service.target {
        Target::Addresses(addresses) => {
            out.push(0);
            put_number(out, addresses.len() as u64);
            addresses.iter().for_each(|address| put_ip(out, *address));
        }
        Target::Endpoints => out.push(1),
        Target::Alias(name) => {
            out.push(2);
            put_text(out, name);
        }
    }
    put_ports(out, &service.ports);
    out.push(service.has_selector.into());
    let external = service.external.as_deref().map(Vec::as_slice).unwrap_or_default();
    put_number(out, external.len() as u64);
    for reached in external {
        match reached {
            Reached::Ip(address) => put_ip(out, *address),
            Reached::Name(name) => {
                out.push(0);
                put_text(out, name);
            }
        }
    }
}

fn put_slice(out: &mut Vec<u8>, slice: &Slice) {
    for text in [&slice.namespace, &slice.name, &slice.service, &slice.cluster] {
        put_text(out, text);
    }
    put_number(out, slice.endpoints.len() as u64);
    slice.endpoints.iter().for_each(|endpoint| put_endpoint(out, endpoint));
    put_ports(out, &slice.ports);
    out.push(slice.triggered.is_some().into());
    out.extend(slice.triggered.iter().flat_map(|time| time.to_be_bytes()));
}

/// Bits of an endpoint's first octet.
const HAS_NAME: u8 = 1;
const HAS_ZONE: u8 = 2;
const IS_NAME: u8 = 4;

fn put_endpoint(out: &mut Vec<u8>, EndpointRef { address, name, zone }: EndpointRef<'_>) {
    let is_name = matches!(address, AddressRef::Name(_));
    let bits = [(name.is_some(), HAS_NAME), (zone.is_some(), HAS_ZONE), (is_name, IS_NAME)];
    out.push(bits.iter().filter(|(is, _)| *is).map(|(_, bit)| bit).sum());
    match address {
        AddressRef::Ip(address) => put_ip(out, address),
        AddressRef::Name(name) => put_text(out, name),
    }
    name.into_iter().chain(zone).for_each(|text| put_text(out, text));
}

fn put_ports(out: &mut Vec<u8>, ports: &[Port]) {
    put_number(out, ports.len() as u64);
    for port in ports {
        put_text(out, &port.name);
        put_text(out, &port.protocol);
        put_number(out, port.number.unwrap_or(0).into());
    }
}

//----------- Reading --------------------------------------------------------

/// Reads records to the end, and hands on each object. Returns how many there were, or `None` if
/// the octets are not records.
pub fn read(octets: &[u8], mut each: impl FnMut(Kind, Object)) -> Option<u64> {
    let (mut octets, mut count) = (Octets(octets), 0);
    while !octets.0.is_empty() {
        let kind = kind(octets.one()?)?;
        each(kind, object(&mut octets, kind)?);
        count += 1;
    }
    Some(count)
}

fn tag(kind: Kind) -> u8 {
    match kind {
        Kind::Namespace => 1,
        Kind::Service => 2,
        Kind::Slice => 3,
        Kind::Pod => 4,
        Kind::Import => 5,
        Kind::ImportSlice => 6,
    }
}

fn kind(wanted: u8) -> Option<Kind> {
    use Kind::{Import, ImportSlice, Namespace, Pod, Service, Slice};
    [Namespace, Service, Slice, Pod, Import, ImportSlice].into_iter().find(|kind| tag(*kind) == wanted)
}

fn object(octets: &mut Octets<'_>, kind: Kind) -> Option<Object> {
    Some(match kind {
        Kind::Namespace => Object::Namespace(octets.text()?.into()),
        Kind::Service | Kind::Import => Object::Service(service(octets)?),
        Kind::Slice | Kind::ImportSlice => Object::Slice(slice(octets)?),
        Kind::Pod => {
            let (namespace, address) = (octets.text()?.into(), octets.ip()?);
            Object::Pod(Pod { namespace, name: address.to_string().into(), addresses: [address].into() })
        }
    })
}

fn service(octets: &mut Octets<'_>) -> Option<Service> {
    let (namespace, name) = (octets.text()?.into(), octets.text()?.into());
    let target = match octets.one()? {
        0 => Target::Addresses(octets.list(Octets::ip)?.into()),
        1 => Target::Endpoints,
        2 => Target::Alias(octets.text()?.into()),
        _ => return None,
    };
    let ports = ports(octets)?;
    let has_selector = octets.one()? != 0;
    let external = octets.list(|octets| match octets.0.first()? {
        0 => octets.one().and_then(|_| octets.text()).map(|name| Reached::Name(name.into())),
        _ => octets.ip().map(Reached::Ip),
    })?;
    let external = (!external.is_empty()).then(|| Box::new(external));
    Some(Service { namespace, name, target, ports, has_selector, external })
}

fn slice(octets: &mut Octets<'_>) -> Option<Slice> {
    let (namespace, name) = (octets.text()?.into(), octets.text()?.into());
    let (service, cluster) = (octets.text()?.into(), octets.text()?.into());
    // The endpoints of a slice are in few zones, and share their names.
    let mut zones: Vec<Arc<str>> = Vec::new();
    let endpoints = octets.list(|octets| endpoint(octets, &mut zones))?.into();
    let ports = ports(octets)?;
    let triggered = match octets.one()? {
        0 => None,
        _ => Some(i64::from_be_bytes(octets.array()?)),
    };
    Some(Slice { namespace, name, service, cluster, endpoints, ports, triggered })
}

fn endpoint(octets: &mut Octets<'_>, zones: &mut Vec<Arc<str>>) -> Option<Endpoint> {
    let bits = octets.one()?;
    let address = match bits & IS_NAME {
        0 => Address::Ip(octets.ip()?),
        _ => Address::Name(octets.text()?.into()),
    };
    let mut text = |bit| if bits & bit == 0 { Some(None) } else { octets.text().map(Some) };
    let (name, zone) = (text(HAS_NAME)?.map(Into::into), text(HAS_ZONE)?);
    let zone = zone.map(|zone| {
        let known = zones.iter().find(|known| ***known == *zone).cloned();
        known.unwrap_or_else(|| {
            zones.push(zone.into());
            zones[zones.len() - 1].clone()
        })
    });
    Some(Endpoint { address, name, zone })
}

fn ports(octets: &mut Octets<'_>) -> Option<Arc<[Port]>> {
    let port = |octets: &mut Octets<'_>| {
        let (name, protocol) = (octets.text()?.into(), octets.text()?.into());
        let number = u16::try_from(octets.number()?).ok()?;
        Some(Port { name, protocol, number: (number > 0).then_some(number) })
    };
    octets.list(port).map(Into::into)
}
