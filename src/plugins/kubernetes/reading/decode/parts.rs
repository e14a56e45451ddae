//! Ports and addresses, which several kinds of objects have.

use std::net::IpAddr;
use std::sync::Arc;

use serde::Deserialize;

use crate::plugins::kubernetes::known::model::Port;

/// A port as it is in the object.
#[derive(Deserialize)]
pub(super) struct RawPort {
    name: Option<Box<str>>,
    protocol: Option<Box<str>>,
    port: Option<i64>,
}

/// The ports of a Service or an EndpointSlice. Those with an invalid number have none.
pub(super) fn ports(raw: Option<Vec<RawPort>>, flaw: &mut Option<String>) -> Arc<[Port]> {
    let raw = raw.unwrap_or_default();
    if raw.is_empty() {
        return Port::none();
    }
    let lower = |text: Box<str>| text.to_ascii_lowercase().into_boxed_str();
    let ports = raw.into_iter().map(|port| Port {
        name: port.name.map(lower).unwrap_or_default(),
        protocol: port.protocol.filter(|text| !text.is_empty()).map_or_else(|| "tcp".into(), lower),
        number: port.port.and_then(|number| match u16::try_from(number) {
            Ok(number) if number != 0 => Some(number),
            _ => {
                note(flaw, || format!("{number} is no port"));
                None
            }
        }),
    });
    ports.collect()
}

/// The IP addresses among `texts`.
pub(super) fn addresses(texts: &[Box<str>], flaw: &mut Option<String>) -> Box<[IpAddr]> {
    // An address that has not been given out yet is empty.
    texts.iter().filter(|text| !text.is_empty()).filter_map(|text| address(text, flaw)).collect()
}

fn address(text: &str, flaw: &mut Option<String>) -> Option<IpAddr> {
    let address = text.parse().ok();
    if address.is_none() {
        note(flaw, || format!("{text:?} is no IP address"));
    }
    address
}

/// Notes what is wrong with an object; the first flaw is kept.
pub(super) fn note(flaw: &mut Option<String>, text: impl FnOnce() -> String) {
    flaw.get_or_insert_with(text);
}
