//! Writes JSON objects as the API server writes them in protobuf. The messages are those of
//! `objects.proto`.
//!
//! A text may have holes, `{name}`, which are filled when the message is written: a large cluster
//! is one message many times.

#![allow(unreachable_pub, dead_code, reason = "shared by tests and by the scale bed, each of which uses a part of it")]

use std::collections::HashMap;
use std::sync::LazyLock;

use serde_json::{Map, Value};

/// A field of a message.
struct Field {
    number: u64,
    name: &'static str,
    r#type: &'static str,
    label: &'static str,
}

static MESSAGES: LazyLock<HashMap<&'static str, Vec<Field>>> = LazyLock::new(|| {
    let (mut messages, mut fields) = (HashMap::new(), Vec::new());
    let mut name = "";
    for line in include_str!("objects.proto").lines() {
        let words: Vec<&str> = line.trim_end_matches(';').split_whitespace().collect();
        match words[..] {
            ["message", found, "{"] => name = found,
            ["}"] => drop(messages.insert(name, std::mem::take(&mut fields))),
            ["map<string,", _, name, "=", number] => {
                fields.push(described("map", words[1].trim_end_matches('>'), name, number));
            }
            [r#type, name, "=", number] => fields.push(described("", r#type, name, number)),
            [label @ ("repeated" | "inline"), r#type, name, "=", number] => {
                fields.push(described(label, r#type, name, number));
            }
            [] | ["//", ..] => {}
            _ => panic!("objects.proto: {line}"),
        }
    }
    messages
});

fn described(label: &'static str, r#type: &'static str, name: &'static str, number: &str) -> Field {
    Field { number: number.parse().expect("the number of a field"), name, r#type, label }
}

//----------- Parts ----------------------------------------------------------

/// A part of a message.
pub enum Part {
    Octets(Vec<u8>),
    /// Filled in when the message is written.
    Hole(String),
    /// Parts with their length prefix.
    Sized(Vec<Part>),
}

/// Returns an object of a message type.
pub fn message(r#type: &str, object: &Value) -> Vec<Part> {
    let object = object.as_object().unwrap_or_else(|| panic!("a {type} is no object"));
    let fields = MESSAGES.get(r#type).unwrap_or_else(|| panic!("no message {type}"));
    fields.iter().flat_map(|field| parts(field, object)).collect()
}

fn parts(of: &Field, object: &Map<String, Value>) -> Vec<Part> {
    if of.label == "inline" {
        let inner = message(of.r#type, &Value::Object(object.clone()));
        return if inner.is_empty() { inner } else { field(of.number, inner) };
    }
    match object.get(of.name) {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Object(pairs)) if of.label == "map" => pairs.iter().flat_map(|pair| entry(of, pair)).collect(),
        Some(Value::Array(items)) if of.label == "repeated" => {
            items.iter().flat_map(|item| value(of.number, of.r#type, item)).collect()
        }
        Some(found) => value(of.number, of.r#type, found),
    }
}

fn entry(of: &Field, (name, found): (&String, &Value)) -> Vec<Part> {
    let mut pair = value(1, "string", &Value::String(name.clone()));
    pair.extend(value(2, of.r#type, found));
    field(of.number, pair)
}

fn value(number: u64, r#type: &str, found: &Value) -> Vec<Part> {
    let inner = match (r#type, found) {
        ("string", Value::String(text)) => holes(text),
        ("Quantity", text) => value(1, "string", text),
        ("FieldsV1", json) => field(1, vec![Part::Octets(json.to_string().into_bytes())]),
        ("Time", Value::String(text)) => {
            let time: jiff::Timestamp = text.parse().expect("a time");
            value(1, "int64", &time.as_second().into())
        }
        ("IntOrString", Value::String(_)) => {
            [value(1, "int64", &1.into()), value(3, "string", found)].into_iter().flatten().collect()
        }
        ("IntOrString", _) => value(2, "int64", found),
        ("bool", Value::Bool(truth)) => return whole_number(number, u64::from(*truth)),
        ("int32" | "int64", Value::Number(found)) => {
            return whole_number(number, found.as_i64().expect("a whole number").cast_unsigned());
        }
        // A list of messages that is made when the message is written.
        (_, Value::String(hole)) => return holes(hole),
        _ => message(r#type, found),
    };
    field(number, inner)
}

fn whole_number(number: u64, value: u64) -> Vec<Part> {
    let mut octets = Vec::new();
    put(number << 3, &mut octets);
    put(value, &mut octets);
    vec![Part::Octets(octets)]
}

/// Returns a field with these parts.
pub fn field(number: u64, parts: Vec<Part>) -> Vec<Part> {
    let mut tag = Vec::new();
    put(number << 3 | 2, &mut tag);
    vec![Part::Octets(tag), Part::Sized(parts)]
}

/// Splits a text at its holes.
fn holes(text: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((before, (hole, after))) =
        rest.split_once('{').and_then(|(before, inside)| Some((before, inside.split_once('}')?)))
    {
        parts.extend([Part::Octets(before.as_bytes().to_vec()), Part::Hole(hole.to_owned())]);
        rest = after;
    }
    parts.push(Part::Octets(rest.as_bytes().to_vec()));
    parts
}

//----------- Octets ---------------------------------------------------------

/// Size of a length that is not known in advance; it need not be the shortest form.
const LENGTH: usize = 4;

/// Returns a message of the API server as a whole body.
pub fn wrapped(api_version: &str, kind: &str, raw: Vec<Part>) -> Vec<Part> {
    let text = |number, text: &str| field(number, vec![Part::Octets(text.as_bytes().to_vec())]);
    let r#type = [text(1, api_version), text(2, kind)].into_iter().flatten().collect();
    [vec![Part::Octets(b"k8s\0".to_vec())], field(1, r#type), field(2, raw)].into_iter().flatten().collect()
}

/// Returns an event of a watch, without its length prefix. Its type may be a hole.
pub fn event(what: &str, object: Vec<Part>) -> Vec<Part> {
    let what = field(1, holes(what));
    what.into_iter().chain(field(2, field(1, object))).collect()
}

/// Joins parts without holes into one piece.
pub fn simplified(parts: Vec<Part>) -> Vec<Part> {
    let mut simple: Vec<Part> = Vec::new();
    for part in parts {
        let part = match part {
            Part::Sized(inner) => match simplified(inner) {
                inner if inner.iter().all(|part| matches!(part, Part::Octets(_))) => {
                    let inner = bytes(&inner);
                    let mut octets = Vec::new();
                    put(inner.len() as u64, &mut octets);
                    Part::Octets([octets, inner].concat())
                }
                inner => Part::Sized(inner),
            },
            other => other,
        };
        match (simple.last_mut(), part) {
            (Some(Part::Octets(before)), Part::Octets(octets)) => before.extend(octets),
            (_, part) => simple.push(part),
        }
    }
    simple
}

/// Returns a message without holes as octets.
pub fn bytes(parts: &[Part]) -> Vec<u8> {
    let mut out = Vec::new();
    write(parts, &mut out, &|_, _| false);
    out
}

/// Writes a message; `fill` returns whether it knows the hole's value.
pub fn write(parts: &[Part], out: &mut Vec<u8>, fill: &impl Fn(&str, &mut Vec<u8>) -> bool) {
    for part in parts {
        match part {
            Part::Octets(octets) => out.extend_from_slice(octets),
            Part::Hole(hole) => assert!(fill(hole, out), "nothing is known for {hole}"),
            Part::Sized(parts) => write_sized(out, |out| write(parts, out, fill)),
        }
    }
}

/// Writes a field with what `write` writes.
pub fn write_field(number: u64, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    put(number << 3 | 2, out);
    write_sized(out, write);
}

/// Writes what `write` writes, with its length prefix.
fn write_sized(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len() + LENGTH;
    out.extend_from_slice(&[0; LENGTH]);
    write(out);
    let len = out.len() - start;
    for (at, octet) in out[start - LENGTH..start].iter_mut().enumerate() {
        let more = if at + 1 < LENGTH { 0x80 } else { 0 };
        *octet = (len >> (7 * at) & 0x7f) as u8 | more;
    }
}

fn put(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}
