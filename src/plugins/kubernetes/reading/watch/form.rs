//! The two forms in which the API server answers: protobuf, which is asked for, and JSON, which
//! every resource has.

use hyper::header::{CONTENT_TYPE, HeaderMap};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::decode::{Decoded, Identity, Keep, decode, identify};
use super::super::protobuf;
use super::failure::{Failure, Status};
use crate::plugins::kubernetes::known::model::Kind;

const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// What requests accept. Resources that know no protobuf are custom ones: they answer in JSON.
pub(super) const ACCEPTED: &str = "application/vnd.kubernetes.protobuf,application/json";

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A watch has an event a line.
    Json,
    /// Every event of a watch has its length in four octets before it.
    Protobuf,
}

impl Form {
    /// The form that the headers of an answer name. Without one it is JSON, or the answer comes
    /// from a proxy in between.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let content = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        match content {
            Some(content) if content.starts_with(PROTOBUF) => Self::Protobuf,
            _ => Self::Json,
        }
    }

    /// The refusal that an answer is.
    pub(super) fn status(self, body: &[u8]) -> Option<Status> {
        match self {
            Self::Json => serde_json::from_slice(body).ok(),
            Self::Protobuf => Status::deserialize(protobuf::status(protobuf::unwrap(body).ok()?)).ok(),
        }
    }

    /// The page of a list that an answer is.
    pub(super) fn page(self, body: &[u8]) -> Result<Page<'_>, Failure> {
        let page = match self {
            Self::Json => json_page(body),
            Self::Protobuf => protobuf_page(body).map_err(|error| error.to_string()),
        };
        page.map_err(|error| Failure::Garbled(format!("a list that cannot be read: {error}")))
    }
}

//----------- Objects --------------------------------------------------------

/// An object as it came.
#[derive(Debug, Clone, Copy)]
pub(super) enum Raw<'a> {
    Json(&'a RawValue),
    Protobuf(&'a [u8]),
}

impl Raw<'_> {
    /// Reads it as one of `kind`, or says why that cannot be.
    pub(super) fn decode(self, kind: Kind, keep: Keep) -> Result<Decoded, String> {
        match self {
            Self::Json(json) => decode(kind, &mut reader(json), keep).map_err(|error| error.to_string()),
            Self::Protobuf(message) => {
                decode(kind, protobuf::object(kind, message), keep).map_err(|error| error.to_string())
            }
        }
    }

    /// Reads its metadata and nothing else, if it has any.
    pub(super) fn identify(self) -> Option<Identity> {
        match self {
            Self::Json(json) => identify(&mut reader(json)).ok(),
            Self::Protobuf(message) => identify(protobuf::bare(message)).ok(),
        }
    }

    /// Reads it as a refusal.
    pub(super) fn status(self) -> Status {
        match self {
            Self::Json(json) => serde_json::from_str(json.get()).unwrap_or_default(),
            Self::Protobuf(message) => Status::deserialize(protobuf::status(message)).unwrap_or_default(),
        }
    }
}

/// As lines are read: another kind of reader would be the same code once more in the program.
fn reader(json: &RawValue) -> serde_json::Deserializer<serde_json::de::SliceRead<'_>> {
    serde_json::Deserializer::from_slice(json.get().as_bytes())
}

//----------- Pages ----------------------------------------------------------

/// A list, or a part of it.
pub(super) struct Page<'a> {
    pub(super) metadata: PageMeta,
    pub(super) items: Vec<Raw<'a>>,
}

/// What a list says of itself.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PageMeta {
    pub(super) resource_version: Option<Box<str>>,
    /// The token of the next page.
    pub(super) r#continue: Option<String>,
    /// How many objects come on later pages.
    pub(super) remaining_item_count: Option<i64>,
}

#[derive(Deserialize)]
struct JsonPage<'a> {
    metadata: PageMeta,
    #[serde(borrow)]
    items: Option<Vec<&'a RawValue>>,
}

fn json_page(body: &[u8]) -> Result<Page<'_>, String> {
    let JsonPage { metadata, items } = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    Ok(Page { metadata, items: items.into_iter().flatten().map(Raw::Json).collect() })
}

fn protobuf_page(body: &[u8]) -> Result<Page<'_>, protobuf::Error> {
    let (metadata, items) = protobuf::list(protobuf::unwrap(body)?)?;
    Ok(Page { metadata: PageMeta::deserialize(metadata)?, items: items.into_iter().map(Raw::Protobuf).collect() })
}
