//! Objects as the API server writes them in protobuf, given to serde as if they were JSON: the same
//! trimmed types take both.
//!
//! Protobuf is about half as long as JSON, the API server has it ready, and fields that are not
//! kept are skipped without being parsed: that is most of a Pod. Texts are borrowed. A generated
//! codec would make a second set of types, and own each text of an object before it is trimmed.

mod schema;

use serde::de::value::BorrowedStrDeserializer;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Unexpected, Visitor};
use serde::forward_to_deserialize_any;

use self::schema::{Message, Type};
use crate::plugins::kubernetes::known::model::Kind;
use crate::wire::protobuf::{self, Fields, Malformed};

/// What is wrong with octets that should be protobuf, or with what they say.
pub type Error = serde::de::value::Error;

impl From<Malformed> for Error {
    fn from(_: Malformed) -> Self {
        Self::custom("no protobuf")
    }
}

//----------- Messages -------------------------------------------------------

/// An object of `kind`.
#[must_use]
pub fn object(kind: Kind, message: &[u8]) -> impl Deserializer<'_, Error = Error> {
    // What has no messages comes as JSON; read as any object, it would lack what it must have.
    field(schema::of(kind).unwrap_or(&schema::OBJECT), message)
}

/// The metadata of an object of any kind.
pub(super) fn bare(message: &[u8]) -> impl Deserializer<'_, Error = Error> {
    field(&schema::OBJECT, message)
}

/// A `Status`.
pub(super) fn status(message: &[u8]) -> impl Deserializer<'_, Error = Error> {
    field(&schema::STATUS, message)
}

/// What a list says of itself, and its objects.
pub(super) fn list(message: &[u8]) -> Result<(impl Deserializer<'_, Error = Error>, Vec<&[u8]>), Error> {
    let (mut metadata, mut items) = (&[][..], Vec::new());
    for field in Fields(message) {
        match field? {
            protobuf::Field { number: 1, value: protobuf::Value::Octets(found) } => metadata = found,
            protobuf::Field { number: 2, value: protobuf::Value::Octets(item) } => items.push(item),
            _ => {}
        }
    }
    Ok((field(&schema::LIST, metadata), items))
}

/// The type of an event of a watch, and its object.
pub(super) fn event(message: &[u8]) -> Result<(&str, &[u8]), Error> {
    let mut fields = [None; 2];
    for field in Fields(message) {
        if let protobuf::Field { number: number @ 1..=2, value: protobuf::Value::Octets(found) } = field? {
            fields[number as usize - 1] = Some(found);
        }
    }
    let [Some(what), Some(object)] = fields else { return Err(Error::custom("an event without type or object")) };
    let what = std::str::from_utf8(what).map_err(Error::custom)?;
    // The object is wrapped twice: as something raw, and as something of unknown type.
    let raw = octets(object, 1)?.ok_or_else(|| Error::custom("an event without an object"))?;
    Ok((what, unwrap(raw)?))
}

/// Takes off what is around each message that does not stand in another: four octets, and a message
/// (`runtime.Unknown`) that says what it is.
pub(super) fn unwrap(message: &[u8]) -> Result<&[u8], Error> {
    let unknown = message.strip_prefix(b"k8s\0").ok_or_else(|| Error::custom("no message of Kubernetes"))?;
    Ok(octets(unknown, 2)?.unwrap_or_default())
}

fn octets(message: &[u8], wanted: u64) -> Result<Option<&[u8]>, Error> {
    let mut found = None;
    for field in Fields(message) {
        match field? {
            protobuf::Field { number, value: protobuf::Value::Octets(octets) } if number == wanted => {
                found = Some(octets);
            }
            _ => {}
        }
    }
    Ok(found)
}

fn field<'de>(message: &'static Message, octets: &'de [u8]) -> Field<'de> {
    Field { r#type: Type::Message(message), value: protobuf::Value::Octets(octets), rest: Fields(&[]), number: 0 }
}

//----------- Values ---------------------------------------------------------

/// A field, and what stands behind it in its message.
#[derive(Clone, Copy)]
struct Field<'de> {
    number: u64,
    r#type: Type,
    value: protobuf::Value<'de>,
    rest: Fields<'de>,
}

impl<'de> Deserializer<'de> for Field<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match (self.r#type, self.value) {
            (Type::Text, protobuf::Value::Octets(text)) => {
                visitor.visit_borrowed_str(std::str::from_utf8(text).map_err(Error::custom)?)
            }
            // A negative number is written as if it had 64 bits.
            (Type::Number, protobuf::Value::Number(number)) => visitor.visit_i64(number.cast_signed()),
            (Type::Truth, protobuf::Value::Number(number)) => visitor.visit_bool(number != 0),
            (Type::Message(message), protobuf::Value::Octets(octets)) => {
                visitor.visit_map(Entries { message, rest: Fields(octets), seen: 0, value: None })
            }
            (Type::Map, protobuf::Value::Octets(_)) => visitor.visit_map(Pairs { next: Some(self), value: &[] }),
            (Type::Messages(_) | Type::Texts, protobuf::Value::Octets(_)) => visitor.visit_seq(Items(Some(self))),
            (_, protobuf::Value::Number(number)) => Err(Error::invalid_type(Unexpected::Unsigned(number), &visitor)),
            (_, protobuf::Value::Octets(octets)) => Err(Error::invalid_type(Unexpected::Bytes(octets), &visitor)),
            (_, protobuf::Value::Fixed) => Err(Error::invalid_type(Unexpected::Other("a fixed number"), &visitor)),
        }
    }

    /// What was not written is not there; what was is.
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier
    }
}

impl Field<'_> {
    /// The next field of its number in the same message.
    fn again(mut self) -> Result<Option<Self>, Malformed> {
        while let Some(next) = self.rest.next().transpose()? {
            if next.number == self.number {
                return Ok(Some(Self { value: next.value, ..self }));
            }
        }
        Ok(None)
    }
}

/// The fields of a message that are read, by name.
struct Entries<'de> {
    message: &'static Message,
    rest: Fields<'de>,
    /// One bit for each field that was read. The first field of a list or map brings the others
    /// along.
    seen: u32,
    value: Option<Field<'de>>,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        while let Some(protobuf::Field { number, value }) = self.rest.next().transpose()? {
            let Some(at) = self.message.0.iter().position(|known| known.1 == number) else { continue };
            if self.seen & 1 << at != 0 {
                continue;
            }
            self.seen |= 1 << at;
            let (name, _, r#type) = self.message.0[at];
            self.value = Some(Field { number, r#type, value, rest: self.rest });
            return seed.deserialize(BorrowedStrDeserializer::new(name)).map(Some);
        }
        Ok(None)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Error> {
        let value = self.value.take().ok_or_else(|| Error::custom("a value without a name"))?;
        seed.deserialize(value)
    }
}

/// A list: the first field, and all others of its number.
struct Items<'de>(Option<Field<'de>>);

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Error> {
        let Some(item) = self.0 else { return Ok(None) };
        self.0 = item.again()?;
        let r#type = match item.r#type {
            Type::Messages(message) => Type::Message(message),
            _ => Type::Text,
        };
        seed.deserialize(Field { r#type, ..item }).map(Some)
    }
}

/// Texts by text.
struct Pairs<'de> {
    next: Option<Field<'de>>,
    value: &'de [u8],
}

impl<'de> MapAccess<'de> for Pairs<'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some(pair) = self.next else { return Ok(None) };
        self.next = pair.again()?;
        let protobuf::Value::Octets(pair) = pair.value else { return Err(Malformed.into()) };
        self.value = octets(pair, 2)?.unwrap_or_default();
        seed.deserialize(text(octets(pair, 1)?.unwrap_or_default())).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Error> {
        seed.deserialize(text(self.value))
    }
}

fn text(octets: &[u8]) -> Field<'_> {
    Field { number: 0, r#type: Type::Text, value: protobuf::Value::Octets(octets), rest: Fields(&[]) }
}

#[cfg(test)]
mod tests;
