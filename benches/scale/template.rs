//! An object with holes, `{name}` in a text, in JSON or in protobuf.

use serde_json::Value;

use super::protobuf::{self, Part};

/// The format of an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Json,
    Protobuf,
}

pub(crate) enum Template {
    /// Text and the hole after it; the last text has none.
    Json(Vec<(String, String)>),
    Protobuf(Vec<Part>),
}

impl Template {
    pub(crate) fn json(value: &Value) -> Self {
        // A hole for a list is the only item, so its quotes are removed.
        let text = value.to_string().replace("[\"{endpoints}\"]", "[{endpoints}]");
        let mut pieces = Vec::new();
        let (mut rest, mut done) = (text.as_str(), 0);
        while let Some(at) = rest[done..].find('{').map(|at| at + done) {
            let inside = &rest[at + 1..];
            let len = inside.bytes().take_while(u8::is_ascii_lowercase).count();
            if len > 0 && inside[len..].starts_with('}') {
                pieces.push((rest[..at].to_owned(), inside[..len].to_owned()));
                (rest, done) = (&inside[len + 1..], 0);
            } else {
                done = at + 1;
            }
        }
        pieces.push((rest.to_owned(), String::new()));
        Self::Json(pieces)
    }

    pub(crate) fn protobuf(parts: Vec<Part>) -> Self {
        Self::Protobuf(protobuf::simplified(parts))
    }

    /// Writes the object; `fill` returns whether it knows the hole's value.
    pub(crate) fn write(&self, out: &mut Vec<u8>, fill: impl Fn(&str, &mut Vec<u8>) -> bool) {
        match self {
            Self::Json(pieces) => {
                for (text, hole) in pieces {
                    out.extend_from_slice(text.as_bytes());
                    assert!(hole.is_empty() || fill(hole, out), "nothing is known for {hole}");
                }
            }
            Self::Protobuf(parts) => protobuf::write(parts, out, &fill),
        }
    }
}

/// The templates of a kind.
pub(crate) struct Templates {
    json: Template,
    protobuf: Template,
    /// As part of an event; its type is the hole `event`.
    event: Template,
}

impl Templates {
    pub(crate) fn new(text: &str, message: &str) -> Self {
        let value: Value = serde_json::from_str(text).expect("a template is JSON");
        let parts = || protobuf::message(message, &value);
        let word = |name: &str| value[name].as_str().unwrap_or_default();
        let wrapped = protobuf::wrapped(word("apiVersion"), word("kind"), parts());
        Self {
            json: Template::json(&value),
            protobuf: Template::protobuf(parts()),
            event: Template::protobuf(protobuf::event("{event}", wrapped)),
        }
    }

    /// Returns an object by itself.
    pub(crate) fn object(&self, form: Form) -> &Template {
        match form {
            Form::Json => &self.json,
            Form::Protobuf => &self.protobuf,
        }
    }

    /// Returns an event in protobuf.
    pub(crate) fn event(&self) -> &Template {
        &self.event
    }
}
