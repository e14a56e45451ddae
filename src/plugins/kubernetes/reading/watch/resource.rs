//! What is listed and watched for each kind, and what that is called.

use std::fmt::Write as _;

use super::super::options::SourceOptions;
use super::super::selector::RUNNING_PODS;
use super::form::ACCEPTED;
use crate::plugins::kubernetes::known::model::Kind;

/// A collection of the API server.
pub(super) struct Resource {
    pub(super) kind: Kind,
    /// Its path, all namespaces.
    path: &'static str,
    /// Its type as client-go writes it in messages.
    pub(super) go_type: &'static str,
    /// Its name and API group, as RBAC rules have them.
    pub(super) plural: &'static str,
    pub(super) group: &'static str,
    labels: String,
    fields: &'static str,
}

impl Resource {
    pub(super) fn new(kind: Kind, options: &SourceOptions) -> Self {
        let (path, go_type, plural, group) = match kind {
            Kind::Namespace => ("/api/v1/namespaces", "*v1.Namespace", "namespaces", ""),
            Kind::Service => ("/api/v1/services", "*v1.Service", "services", ""),
            Kind::Pod => ("/api/v1/pods", "*v1.Pod", "pods", ""),
            Kind::Slice | Kind::ImportSlice => {
                ("/apis/discovery.k8s.io/v1/endpointslices", "*v1.EndpointSlice", "endpointslices", "discovery.k8s.io")
            }
            Kind::Import => (
                "/apis/multicluster.x-k8s.io/v1alpha1/serviceimports",
                "*v1alpha1.ServiceImport",
                "serviceimports",
                "multicluster.x-k8s.io",
            ),
        };
        let fields = if kind == Kind::Pod { RUNNING_PODS } else { "" };
        Self { kind, path, go_type, plural, group, labels: options.selector(kind).to_string(), fields }
    }

    /// Whether every object of the collection is selected, so that its size can be compared.
    pub(super) fn is_whole(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// The forms in which it is asked for.
    pub(super) fn accepted(&self) -> &'static str {
        // Custom resources have none but JSON, and servers differ in what they do when asked for
        // more.
        if self.kind == Kind::Import { "application/json" } else { ACCEPTED }
    }

    /// Whether clusters may lack it.
    pub(super) fn is_optional(&self) -> bool {
        self.kind == Kind::Import
    }

    /// One page of a list: of `limit` objects, from where `token` says.
    pub(super) fn page(&self, limit: u32, token: &str) -> String {
        let mut url = self.url();
        add(&mut url, "limit", &limit.to_string());
        if !token.is_empty() {
            add(&mut url, "continue", token);
        }
        url
    }

    /// A list of one object of the whole collection: it tells the resourceVersion and how many more
    /// there are.
    ///
    /// Without selectors, with which the server might have to look at everything.
    pub(super) fn probe(&self) -> String {
        format!("{}?limit=1", self.path)
    }

    /// What changes after `version`, for `seconds` at most.
    pub(super) fn watch(&self, version: &str, seconds: u64) -> String {
        let mut url = self.changes(seconds);
        add(&mut url, "resourceVersion", version);
        url
    }

    /// Everything as of now, a bookmark, then what changes.
    pub(super) fn streaming_list(&self, seconds: u64) -> String {
        let mut url = self.changes(seconds);
        add(&mut url, "sendInitialEvents", "true");
        add(&mut url, "resourceVersionMatch", "NotOlderThan");
        url
    }

    fn changes(&self, seconds: u64) -> String {
        let mut url = self.url();
        add(&mut url, "watch", "true");
        add(&mut url, "allowWatchBookmarks", "true");
        add(&mut url, "timeoutSeconds", &seconds.to_string());
        url
    }

    fn url(&self) -> String {
        let mut url = self.path.to_owned();
        for (name, value) in [("labelSelector", &*self.labels), ("fieldSelector", self.fields)] {
            if !value.is_empty() {
                add(&mut url, name, value);
            }
        }
        url
    }
}

/// Adds a parameter with its value percent-encoded.
fn add(url: &mut String, name: &str, value: &str) {
    url.push(if url.contains('?') { '&' } else { '?' });
    url.push_str(name);
    url.push('=');
    for octet in value.bytes() {
        if octet.is_ascii_alphanumeric() || b"-._~".contains(&octet) {
            url.push(octet.into());
        } else {
            // Writing to a String cannot fail.
            let _ = write!(url, "%{octet:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_carry_selectors_and_tokens() {
        let labels = super::super::super::selector::Selector::parse("a in (b,c)").expect("a selector");
        let options = SourceOptions { labels, ..SourceOptions::default() };
        let services = Resource::new(Kind::Service, &options);
        assert_eq!(
            services.page(500, "x/y="),
            "/api/v1/services?labelSelector=a%20in%20%28b%2Cc%29&limit=500&continue=x%2Fy%3D"
        );
        assert!(!services.is_whole());
        assert_eq!(services.probe(), "/api/v1/services?limit=1");
        let namespaces = Resource::new(Kind::Namespace, &options);
        assert!(namespaces.is_whole());
        assert_eq!(
            namespaces.watch("7", 300),
            "/api/v1/namespaces?watch=true&allowWatchBookmarks=true&timeoutSeconds=300&resourceVersion=7"
        );
        assert_eq!(
            Resource::new(Kind::Pod, &options).streaming_list(9),
            "/api/v1/pods?labelSelector=a%20in%20%28b%2Cc%29&fieldSelector=status.phase%21%3DSucceeded%2Cstatus.phase%21%3D\
             Failed%2Cstatus.phase%21%3DUnknown&watch=true&allowWatchBookmarks=true&timeoutSeconds=9&\
             sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
        );
    }
}
