//! Lines as JSON objects, serialized straight into the buffer: a line needs no allocation.

use std::cell::RefCell;
use std::io::Write;

use serde::{Serialize, Serializer};

use super::Level;

/// One object: these four fields, then `fields`.
#[derive(Serialize)]
struct Record<'a, M, F> {
    time: jiff::Timestamp,
    level: &'static str,
    msg: M,
    #[serde(skip_serializing_if = "Option::is_none")]
    plugin: Option<&'a str>,
    #[serde(flatten)]
    fields: F,
}

/// A record without fields of its own.
#[derive(Serialize)]
pub(super) struct Nothing {}

/// Appends one object as a line.
pub(super) fn append(buffer: &mut Vec<u8>, level: Level, from: &str, msg: impl Serialize, fields: impl Serialize) {
    let plugin = (!from.is_empty()).then_some(from);
    let record = Record { time: jiff::Timestamp::now(), level: level.json(), msg, plugin, fields };
    // Writing to a `Vec` cannot fail, and all keys are text.
    let _ = serde_json::to_writer(&mut *buffer, &record);
    let _ = buffer.write_all(b"\n");
}

/// A text of a record that is made while the record is written, in a buffer of the thread. Making
/// one must not make another.
pub struct Text<F>(pub F);

impl<F: Fn(&mut Vec<u8>)> Serialize for Text<F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        thread_local! {
            static TEXT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        TEXT.with_borrow_mut(|text| {
            text.clear();
            (self.0)(text);
            serializer.serialize_str(&String::from_utf8_lossy(text))
        })
    }
}
