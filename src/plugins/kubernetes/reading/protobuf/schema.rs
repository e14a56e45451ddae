//! The numbers that the fields of Kubernetes' messages have in protobuf, for those that are read.
//!
//! From the `generated.proto` of k8s.io/api and k8s.io/apimachinery. A number is never given to
//! another field, so this holds for every version of the API group. Names are those of JSON.

use crate::plugins::kubernetes::known::model::Kind;

/// A message: name, number and type of the fields that are read.
pub(super) struct Message(pub(super) &'static [(&'static str, u64, Type)]);

/// What a field holds.
#[derive(Clone, Copy)]
pub(super) enum Type {
    Text,
    Number,
    Truth,
    /// Texts by text. On the wire it is a message for each, of a key and a value.
    Map,
    Message(&'static Message),
    /// A list of messages.
    Messages(&'static Message),
    /// A list of texts.
    Texts,
}

use Type::{Map, Message as One, Messages as Many, Number, Text, Texts, Truth};

/// The message that an object of `kind` is. ServiceImports are custom resources, for which there is
/// no protobuf.
pub(super) fn of(kind: Kind) -> Option<&'static Message> {
    match kind {
        Kind::Namespace => Some(&OBJECT),
        Kind::Service => Some(&SERVICE),
        Kind::Slice | Kind::ImportSlice => Some(&SLICE),
        Kind::Pod => Some(&POD),
        Kind::Import => None,
    }
}

/// Any object, without what is its own.
pub(super) static OBJECT: Message = Message(&[("metadata", 1, One(&METADATA))]);

static METADATA: Message = Message(&[
    ("name", 1, Text),
    ("namespace", 3, Text),
    ("resourceVersion", 6, Text),
    ("deletionTimestamp", 9, One(&NOTHING)),
    ("labels", 11, Map),
    ("annotations", 12, Map),
]);

/// Of which is only asked whether it is there.
static NOTHING: Message = Message(&[]);

//----------- Services -------------------------------------------------------

static SERVICE: Message =
    Message(&[("metadata", 1, One(&METADATA)), ("spec", 2, One(&SERVICE_SPEC)), ("status", 3, One(&SERVICE_STATUS))]);

static SERVICE_SPEC: Message = Message(&[
    ("ports", 1, Many(&PORT)),
    ("selector", 2, Map),
    ("clusterIP", 3, Text),
    ("type", 4, Text),
    ("externalIPs", 5, Texts),
    ("externalName", 10, Text),
    ("clusterIPs", 18, Texts),
]);

/// The port of a Service and that of an EndpointSlice have the same numbers.
static PORT: Message = Message(&[("name", 1, Text), ("protocol", 2, Text), ("port", 3, Number)]);

static SERVICE_STATUS: Message = Message(&[("loadBalancer", 1, One(&LOAD_BALANCER))]);
static LOAD_BALANCER: Message = Message(&[("ingress", 1, Many(&INGRESS))]);
static INGRESS: Message = Message(&[("ip", 1, Text), ("hostname", 2, Text)]);

//----------- EndpointSlices -------------------------------------------------

static SLICE: Message = Message(&[
    ("metadata", 1, One(&METADATA)),
    ("endpoints", 2, Many(&ENDPOINT)),
    ("ports", 3, Many(&PORT)),
    ("addressType", 4, Text),
]);

static ENDPOINT: Message = Message(&[
    ("addresses", 1, Texts),
    ("conditions", 2, One(&CONDITIONS)),
    ("hostname", 3, Text),
    ("targetRef", 4, One(&REFERENCE)),
    ("zone", 7, Text),
]);

static CONDITIONS: Message = Message(&[("ready", 1, Truth)]);
static REFERENCE: Message = Message(&[("name", 3, Text)]);

//----------- Pods -----------------------------------------------------------

static POD: Message = Message(&[("metadata", 1, One(&METADATA)), ("status", 3, One(&POD_STATUS))]);
static POD_STATUS: Message = Message(&[("phase", 1, Text), ("podIPs", 12, Many(&POD_IP))]);
static POD_IP: Message = Message(&[("ip", 1, Text)]);

//----------- Lists and refusals ---------------------------------------------

/// What a list says of itself.
pub(super) static LIST: Message =
    Message(&[("resourceVersion", 2, Text), ("continue", 3, Text), ("remainingItemCount", 4, Number)]);

/// What the API server says instead of what was asked for.
pub(super) static STATUS: Message =
    Message(&[("message", 3, Text), ("reason", 4, Text), ("details", 5, One(&DETAILS)), ("code", 6, Number)]);

static DETAILS: Message = Message(&[("retryAfterSeconds", 5, Number)]);
