//! What the options of a directive say together.

use std::path::PathBuf;
use std::time::Duration;

use super::super::answers::options::{Options, Pods};
use super::super::reading::options::{ApiFrom, Origin, SnapshotOptions, SourceOptions};
use super::super::reading::selector::Selector;
use super::super::reading::{manifests, watch};
use crate::chain::setup::Setup;
use crate::chain::zones::{Fallthrough, Zones};
use crate::corefile::{Cursor, Severity, Word};
use crate::error::Result;
use crate::wire::name::Name;

/// What the options say before they are seen together.
pub(in super::super) struct Reader {
    pub(super) options: Options,
    pub(super) source: SourceOptions,
    pub(super) multicluster: Zones,
    pub(super) endpoint: Option<Word>,
    pub(super) tls: Option<[Word; 3]>,
    pub(super) kubeconfig: Option<(Word, Option<Word>)>,
    pub(super) manifests: Vec<Word>,
    /// The word that names the file, and what the option says.
    pub(super) snapshot: Option<(Word, SnapshotOptions)>,
}

impl Reader {
    /// The defaults.
    pub(super) fn new() -> Self {
        Self {
            options: Options {
                ttl: 5,
                pods: Pods::Disabled,
                namespaces: None,
                ignore_empty_service: false,
                fallthrough: Fallthrough::default(),
                startup_timeout: Duration::from_secs(5),
            },
            source: SourceOptions::default(),
            multicluster: Zones::default(),
            endpoint: None,
            tls: None,
            kubeconfig: None,
            manifests: Vec::new(),
            snapshot: None,
        }
    }

    /// What can only be said once all options are read.
    pub(super) fn check(&mut self, s: &Setup<'_>, cursor: &Cursor<'_>, zones: &[Name]) -> Result<()> {
        if self.options.namespaces.is_some() && self.source.namespace_labels != Selector::default() {
            let complaint = cursor.error("namespaces and namespace_labels cannot both be set");
            return Err(complaint);
        }
        if self.source.zonal && !self.source.endpoints {
            return Err(cursor.error("zonal needs endpoints: it cannot be set with noendpoints"));
        }
        if let Some(zone) = self.multicluster.iter().find(|zone| !zones.contains(zone)) {
            return Err(cursor.error(format!("is not authoritative for the multicluster zone {zone}")));
        }
        self.source.ttl = self.options.ttl;
        self.source.pods_verified = self.options.pods == Pods::Verified;
        self.source.multicluster = !self.multicluster.is_empty();
        self.source.origin = self.origin(s, cursor)?;
        if let Some((written, snapshot)) = &self.snapshot {
            if !self.manifests.is_empty() {
                let message = "snapshot keeps what an API server told: it cannot be set with manifests";
                return Err(cursor.error_at(written, message));
            }
            self.source.snapshot = Some(snapshot.clone());
        }
        Ok(())
    }

    /// Where the data come from. Files that are not there are errors of their own, and reading goes
    /// on.
    fn origin(&self, s: &Setup<'_>, cursor: &Cursor<'_>) -> Result<Origin> {
        let from_api = self.endpoint.is_some() || self.tls.is_some() || self.kubeconfig.is_some();
        if !self.manifests.is_empty() && from_api {
            let message =
                "manifests takes the place of an API server: it cannot be set with endpoint, tls or kubeconfig";
            return Err(cursor.error(message));
        }
        let missing = |word: &Word, why: String| cursor.report(Severity::Error, cursor.complain(word, why));
        if !self.manifests.is_empty() {
            let paths: Vec<_> = self.manifests.iter().map(|word| s.path(word.as_str())).collect();
            for (word, path) in self.manifests.iter().zip(&paths) {
                let _ = manifests::check(path).map_err(|why| missing(word, why));
            }
            return Ok(Origin::Manifests(paths));
        }
        let (from, written) = match (&self.kubeconfig, &self.endpoint) {
            (Some((word, context)), _) => {
                let context = context.as_ref().map(|context| context.as_str().to_owned());
                match s.file(cursor, word, &format!("kubeconfig {word}")) {
                    Some(file) => (ApiFrom::Kubeconfig { file, context }, word),
                    // The error is told: nothing is read from here.
                    None => return Ok(Origin::Api(ApiFrom::InCluster)),
                }
            }
            (None, Some(url)) => {
                let found = |words: &[Word; 3]| words.iter().filter_map(|word| s.file(cursor, word, "tls")).collect();
                let files: Option<Vec<PathBuf>> = self.tls.as_ref().map(found);
                let tls = files.and_then(|files| files.try_into().ok());
                (ApiFrom::Endpoint { url: url.as_str().to_owned(), tls }, url)
            }
            (None, None) => return Ok(Origin::Api(ApiFrom::InCluster)),
        };
        let _ = watch::check(&from).map_err(|why| missing(written, why));
        Ok(Origin::Api(from))
    }
}
