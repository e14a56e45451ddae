//! What the server says of a collection, for the comparison that an audit makes.

use super::api::Api;
use super::audit::Claim;
use super::failure::Failure;
use super::form::Page;
use super::resource::Resource;

/// Asks for version and size of a collection. Returns `None` if the server does not say its version
/// as a number.
pub(super) async fn probe(api: &Api, resource: &Resource) -> Result<Option<Claim>, Failure> {
    let (form, body) = api.fetch(&resource.probe(), resource.accepted()).await?;
    let Page { metadata, items } = form.page(&body)?;
    let here = items.len() as i64;
    let complete = metadata.r#continue.is_none_or(|token| token.is_empty());
    let count = if complete { Some(here) } else { metadata.remaining_item_count.map(|rest| here + rest) };
    let version = metadata.resource_version.and_then(|version| version.parse().ok());
    Ok(version.map(|version| Claim { version, count: count.filter(|_| resource.is_whole()) }))
}
