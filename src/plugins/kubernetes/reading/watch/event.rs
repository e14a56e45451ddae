//! An event of a watch. In JSON its object is trimmed while the line is read, so that a Pod of 8 KB
//! is looked at once; in protobuf its end is known before.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::super::decode::{Decoded, Keep, decode};
use super::super::protobuf;
use super::form::{Form, Raw};
use crate::plugins::kubernetes::known::model::Kind;

/// What a watch tells.
pub(super) struct Event<'a> {
    /// `ADDED`, `MODIFIED`, `DELETED`, `BOOKMARK` or `ERROR`.
    pub(super) r#type: Cow<'a, str>,
    pub(super) object: Payload<'a>,
}

/// An object.
pub(super) enum Payload<'a> {
    /// Of an `ADDED` or `MODIFIED`, where it is good.
    Decoded(Decoded),
    /// As it came.
    Raw(Raw<'a>),
}

impl<'a> Payload<'a> {
    /// As it came. Returns `null` for one that was decoded, which is not asked for.
    pub(super) fn raw(&self) -> Raw<'a> {
        match self {
            Self::Raw(raw) => *raw,
            Self::Decoded(_) => Raw::Json(RawValue::NULL),
        }
    }
}

/// Reads an event. Returns `None` if it is invalid.
pub(super) fn read(event: &[u8], form: Form, kind: Kind, keep: Keep) -> Option<Event<'_>> {
    if form == Form::Json {
        return read_line(event, kind, keep);
    }
    let (what, object) = protobuf::event(event).ok()?;
    Some(Event { r#type: Cow::Borrowed(what), object: Payload::Raw(Raw::Protobuf(object)) })
}

fn read_line(line: &[u8], kind: Kind, keep: Keep) -> Option<Event<'_>> {
    let read = |decodes| {
        let mut json = serde_json::Deserializer::from_slice(line);
        let event = json.deserialize_map(Reader { kind, keep, decodes }).ok()?;
        json.end().ok()?;
        Some(event)
    };
    // A bad object costs a second look, which finds where it ends.
    read(true).or_else(|| read(false))
}

#[derive(Clone, Copy)]
struct Reader {
    kind: Kind,
    keep: Keep,
    decodes: bool,
}

impl<'de> Visitor<'de> for Reader {
    type Value = Event<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event of a watch")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Event<'de>, A::Error> {
        let (mut r#type, mut object) = (None, None);
        while let Some(name) = map.next_key::<Borrowed<'de>>()? {
            match &*name.0 {
                "type" => r#type = Some(map.next_value::<Borrowed<'de>>()?.0),
                // The API server writes the type first.
                "object" if self.decodes && matches!(r#type.as_deref(), Some("ADDED" | "MODIFIED")) => {
                    object = Some(Payload::Decoded(map.next_value_seed(self)?));
                }
                "object" => object = Some(Payload::Raw(Raw::Json(map.next_value()?))),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        let missing = serde::de::Error::missing_field;
        Ok(Event { r#type: r#type.ok_or_else(|| missing("type"))?, object: object.ok_or_else(|| missing("object"))? })
    }
}

impl<'de> DeserializeSeed<'de> for Reader {
    type Value = Decoded;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Decoded, D::Error> {
        decode(self.kind, from, self.keep)
    }
}

/// A text without a copy where it has no escapes.
#[derive(serde::Deserialize)]
struct Borrowed<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    fn event(line: &str) -> Option<(String, bool)> {
        let event = read_line(line.as_bytes(), Kind::Namespace, Keep::default())?;
        Some((event.r#type.into_owned(), matches!(event.object, Payload::Decoded(_))))
    }

    #[test]
    fn objects_are_decoded_where_that_can_be() {
        let good = |line, decoded| assert!(matches!(event(line), Some((_, was)) if was == decoded), "{line}");
        good(r#"{"type": "ADDED", "object": {"kind": "Namespace", "metadata": {"name": "a"}}}"#, true);
        good(r#"{"type":"MODIFIED","object":{"metadata":{"name":"a"}},"more":[1]}"#, true);
        good(r#"{"object": {"metadata": {"name": "a"}}, "type": "ADDED"}"#, false);
        good(r#"{"type": "DELETED", "object": {"metadata": {"name": "a"}}}"#, false);
        good(r#"{"type": "ADDED", "object": {"metadata": {"name": ["bad"]}, "x": [1, 2]}}"#, false);
        for bad in
            ["", "{}", "[]", r#"{"type": "ADDED"}"#, r#"{"type": "ADDED", "object": {"#, r#"{"type": 1, "object": {}}"#]
        {
            assert_eq!(event(bad), None, "{bad}");
        }
        assert_eq!(event(r#"{"type":"ADDED","object":{"metadata":{"name":"a"}}} x"#), None);
    }
}
