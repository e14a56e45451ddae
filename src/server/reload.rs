//! One attempt at a configuration, at the start and at each reload: the Corefile is read, built and
//! prepared.
//!
//! An attempt runs beside everything else and has no effect, so the process can drop it at any
//! time. A stop is not delayed by a file system that does not answer or by a source that does not
//! sync.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::load::Loader;
use super::publish::page_error;
use crate::args::Args;
use crate::chain::build::{Configuration, build};
use crate::chain::setup::{Fact, Registration};
use crate::error::Error;
use crate::host::Host;
use crate::host::http::{self, Resolved};

/// Why an attempt is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// Nothing is served yet.
    Start,
    /// A reload was requested, even if the Corefile is the same.
    Wish,
    /// It is time to check whether the Corefile has changed.
    Look,
}

/// The result of an attempt.
pub(super) enum Outcome {
    /// Nothing has changed.
    Same,
    /// A configuration that can go live.
    Made(Box<Made>),
    /// The step that failed, and why.
    Failed(&'static str, Error),
}

/// A configuration that can go live.
pub(super) struct Made {
    pub(super) configuration: Configuration,
    /// The resolved addresses of its pages.
    pub(super) pages: Resolved,
    pub(super) version: Version,
}

/// What distinguishes a configuration from the one before it.
#[derive(Clone)]
pub(super) struct Version {
    /// The hash of the Corefile with its imports.
    pub(super) hash: String,
    facts: Arc<Vec<Fact>>,
}

/// Makes configurations.
#[derive(Clone)]
pub(super) struct Maker {
    loader: Arc<Loader>,
    plugins: &'static [Registration],
    host: Arc<Host>,
    port: String,
}

impl Maker {
    pub(super) fn new(
        args: &Args,
        plugins: &'static [Registration],
        elsewhere: &'static [&'static str],
        host: &Arc<Host>,
    ) -> Self {
        let loader = Arc::new(Loader::new(args, plugins, elsewhere, &host.metrics));
        Self { loader, plugins, host: host.clone(), port: args.port.clone() }
    }

    /// Makes a configuration; `live` is the version that is being served.
    pub(super) async fn attempt(self, why: Why, live: Option<Version>, runtime: Handle) -> Outcome {
        let built = runtime.spawn_blocking(move || self.build(why, live.as_ref())).await;
        let mut made = match built {
            Ok(Outcome::Made(made)) => made,
            Ok(outcome) => return outcome,
            Err(error) => return Outcome::Failed("Restart failed", Error::Other(format!("panic: {error}"))),
        };
        match made.configuration.prepare(&runtime, why == Why::Start).await {
            Ok(()) => Outcome::Made(made),
            Err(error) => Outcome::Failed("Restart failed", error),
        }
    }

    /// Does the part that may block on a disk or on this host's resolver.
    fn build(&self, why: Why, live: Option<&Version>) -> Outcome {
        let corefile = match self.loader.load() {
            Ok(corefile) => corefile,
            Err(error) => return Outcome::Failed("Corefile parse failed", error),
        };
        let hash = corefile.sha512_hex();
        let is_same = live.is_some_and(|live| live.hash == hash);
        if why == Why::Look && is_same && !live.is_some_and(|live| live.facts.iter().any(Fact::has_changed)) {
            return Outcome::Same;
        }
        if corefile.built_in && live.is_some() && !is_same {
            return Outcome::Failed("Corefile parse failed", self.empty());
        }
        let made = || {
            let mut configuration = build(&corefile, self.plugins, &self.host, &self.port)?;
            let pages = http::resolve(&configuration.endpoints);
            let pages = pages
                .map_err(|(address, error)| page_error(&configuration, &configuration.endpoints, &address, &error))?;
            let facts = Arc::new(std::mem::take(&mut configuration.facts));
            let version = Version { hash, facts };
            Ok(Made { configuration, pages, version })
        };
        made().map_or_else(|error| Outcome::Failed("Restart failed", error), |made| Outcome::Made(Box::new(made)))
    }

    /// Returns the error for a Corefile without server blocks. At the start, such a Corefile means
    /// the built-in one. Later, it is most likely still being written.
    fn empty(&self) -> Error {
        let name = self.loader.name();
        Error::Other(format!(
            "{name}: there is no server block in it\nhelp: it is taken for a file that is being written; write at least one \
             server block"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugins::{ALL, COREDNS};
    use std::path::Path;

    const GOOD: &str = ". {\n reload 10s\n whoami\n}\n";

    fn maker(path: &Path) -> Maker {
        let conf = Some(path.display().to_string());
        Maker::new(&Args { conf, ..Args::default() }, ALL, COREDNS, &Arc::new(Host::default()))
    }

    /// Returns the outcome of a look, with the reason if it failed.
    fn look(maker: &Maker, live: &Version) -> String {
        match maker.build(Why::Look, Some(live)) {
            Outcome::Same => "same".into(),
            Outcome::Made(_) => "made".into(),
            Outcome::Failed(what, error) => format!("{what}: {error}"),
        }
    }

    fn start(maker: &Maker) -> Made {
        match maker.build(Why::Start, None) {
            Outcome::Made(made) => *made,
            Outcome::Failed(_, error) => panic!("{error}"),
            Outcome::Same => panic!("there is nothing that it could be the same as"),
        }
    }

    #[test]
    fn a_look_at_a_file_that_is_being_written_fails_and_is_repeated() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("Corefile");
        let write = |text: &str| std::fs::write(&path, text).expect("writes");
        write(GOOD);
        let maker = maker(&path);
        let live = start(&maker).version;
        assert_eq!(look(&maker, &live), "same");
        for empty in
            ["", "\n \t\n", "# nothing yet\n", "(snippet) {\n errors\n}\n", "import conf.d/*.conf\n", "\u{feff}"]
        {
            write(empty);
            let said = look(&maker, &live);
            assert!(said.contains("Corefile: there is no server block in it\nhelp: "), "{empty:?}: {said}");
        }
        for (half, why) in
            [(". {\n reload", "not closed"), (". {\n reload 10s\n who\n}\n", "who"), ("import nowhere\n", "nowhere")]
        {
            write(half);
            let said = look(&maker, &live);
            assert!(said.starts_with("Corefile parse failed: ") && said.contains(why), "{half:?}: {said}");
        }
        std::fs::remove_file(&path).expect("removes");
        assert!(look(&maker, &live).contains("no such file"));
        write(GOOD);
        assert_eq!(look(&maker, &live), "same");
        write(". {\n whoami\n}\n");
        assert_eq!(look(&maker, &live), "made");
    }

    #[test]
    fn imports_and_the_folder_of_a_config_map_are_looked_at() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let version = |name: &str, text: &str| {
            std::fs::create_dir(at(name)).expect("a folder");
            std::fs::write(at(name).join("Corefile"), text).expect("writes");
            std::os::unix::fs::symlink(name, at("new")).expect("a link");
            std::fs::rename(at("new"), at("..data")).expect("renames");
        };
        std::os::unix::fs::symlink("..data/Corefile", at("Corefile")).expect("a link");
        version("..1", ". {\n import more/*.override\n whoami\n}\n");
        let maker = maker(&at("Corefile"));
        let live = start(&maker).version;
        assert_eq!(look(&maker, &live), "same");
        std::fs::create_dir(at("more")).expect("a folder");
        std::fs::write(at("more").join("a.override"), "errors\n").expect("writes");
        assert_eq!(look(&maker, &live), "made");
        std::fs::remove_dir_all(at("more")).expect("removes");
        assert_eq!(look(&maker, &live), "same", "a pattern may find nothing");
        version("..2", "# nothing\n");
        assert!(look(&maker, &live).contains("there is no server block"));
        version("..3", ". {\n errors\n whoami\n}\n");
        assert_eq!(look(&maker, &live), "made");
    }

    #[test]
    fn an_empty_corefile_is_the_built_in_one_at_the_start_and_stays_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("Corefile");
        std::fs::write(&path, "# nothing\n").expect("writes");
        let maker = maker(&path);
        let made = start(&maker);
        assert_eq!(made.configuration.servers, [".:53"]);
        assert_eq!(made.configuration.findings.len(), 1);
        assert_eq!(look(&maker, &made.version), "same");
        assert!(matches!(maker.build(Why::Wish, Some(&made.version)), Outcome::Made(_)));
    }

    #[test]
    fn what_a_configuration_was_made_from_beside_the_corefile_is_looked_at() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("Corefile");
        std::fs::write(&path, ". {\n bind lo\n whoami\n}\n").expect("writes");
        let maker = maker(&path);
        let mut live = start(&maker).version;
        assert_eq!(look(&maker, &live), "same");
        live.facts = Arc::new(vec![Fact::new("10.0.0.1".into(), || "10.0.0.2".into())]);
        assert_eq!(look(&maker, &live), "made");
    }
}
