//! The ready endpoints of a slice, in as little room as they need.
//!
//! Nearly every slice has IPv4 addresses and nothing else that DNS needs: 4 octets an endpoint
//! instead of 56. With 150,000 of them that is most of what a large cluster holds.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use super::label::LabelRoom;
use crate::wire::name::MAX_LABEL;

/// One address of a ready endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Where it is.
    pub address: Address,
    /// Its name below the service, if that is not made from the address.
    pub name: Option<Box<str>>,
    /// Its topology zone in lower case, kept with the option `zonal` only.
    pub zone: Option<Arc<str>>,
}

/// The address of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// An IP address.
    Ip(IpAddr),
    /// A domain name: slices of `addressType: FQDN`.
    Name(Box<str>),
}

/// Endpoints, one for each address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints(Form);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    /// All are IPv4 addresses, and named after them.
    Plain(Box<[Ipv4Addr]>),
    Any(Box<[Endpoint]>),
}

/// One of them, borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndpointRef<'a> {
    /// Where it is.
    pub address: AddressRef<'a>,
    /// See [`Endpoint::name`].
    pub name: Option<&'a str>,
    /// See [`Endpoint::zone`].
    pub zone: Option<&'a str>,
}

/// See [`Address`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressRef<'a> {
    /// An IP address.
    Ip(IpAddr),
    /// A domain name.
    Name(&'a str),
}

impl From<Vec<Endpoint>> for Endpoints {
    fn from(all: Vec<Endpoint>) -> Self {
        let plain = |endpoint: &Endpoint| match endpoint {
            Endpoint { address: Address::Ip(IpAddr::V4(address)), name: None, zone: None } => Some(*address),
            _ => None,
        };
        Self(all.iter().map(plain).collect::<Option<_>>().map_or_else(|| Form::Any(all.into()), Form::Plain))
    }
}

impl FromIterator<Endpoint> for Endpoints {
    fn from_iter<I: IntoIterator<Item = Endpoint>>(all: I) -> Self {
        all.into_iter().collect::<Vec<_>>().into()
    }
}

impl Endpoints {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.0 {
            Form::Plain(all) => all.len(),
            Form::Any(all) => all.len(),
        }
    }

    /// Whether there are no endpoints.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Each of them, in the order of the slice.
    pub fn iter(&self) -> impl Iterator<Item = EndpointRef<'_>> {
        let (plain, any): (&[Ipv4Addr], &[Endpoint]) = match &self.0 {
            Form::Plain(all) => (all, &[]),
            Form::Any(all) => (&[], all),
        };
        let of_plain =
            |address: &Ipv4Addr| EndpointRef { address: AddressRef::Ip((*address).into()), name: None, zone: None };
        plain.iter().map(of_plain).chain(any.iter().map(EndpointRef::from))
    }

    /// The IP addresses of those that have one.
    pub fn ips(&self) -> impl Iterator<Item = IpAddr> {
        self.iter().filter_map(EndpointRef::ip)
    }
}

impl<'a> From<&'a Endpoint> for EndpointRef<'a> {
    fn from(Endpoint { address, name, zone }: &'a Endpoint) -> Self {
        let address = match address {
            Address::Ip(address) => AddressRef::Ip(*address),
            Address::Name(name) => AddressRef::Name(name),
        };
        Self { address, name: name.as_deref(), zone: zone.as_deref() }
    }
}

impl<'a> EndpointRef<'a> {
    /// Its IP address, if it has one.
    #[must_use]
    pub fn ip(self) -> Option<IpAddr> {
        match self.address {
            AddressRef::Ip(address) => Some(address),
            AddressRef::Name(_) => None,
        }
    }

    /// The endpoint's label below its service.
    ///
    /// `hostname`, or what the address gives: IPv4 with dashes for dots, IPv6 with dashes for
    /// colons and a 0 behind a trailing dash. Never more octets than a label may have.
    pub fn label(self, room: &'a mut LabelRoom) -> &'a str {
        match (self.name, self.address) {
            (Some(name), _) | (None, AddressRef::Name(name)) => &name[..name.floor_char_boundary(MAX_LABEL)],
            (None, AddressRef::Ip(address)) => room.dashed(address),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out() {
        let plain =
            |text: &str| Endpoint { address: Address::Ip(text.parse().expect("an address")), name: None, zone: None };
        let named = Endpoint { name: Some("db-0".into()), ..plain("10.0.0.9") };
        for all in [
            vec![],
            vec![plain("10.0.0.1"), plain("10.0.0.2")],
            vec![plain("10.0.0.1"), plain("fd00::1")],
            vec![plain("10.0.0.1"), named],
        ] {
            let endpoints = Endpoints::from(all.clone());
            assert_eq!((endpoints.len(), endpoints.is_empty()), (all.len(), all.is_empty()));
            assert!(endpoints.iter().eq(all.iter().map(EndpointRef::from)));
        }
    }
}
