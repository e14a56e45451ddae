//! Files in a folder, changed, broken and mended, and what the index shows.

use std::sync::Arc;

use super::super::feed::feed;
use super::super::selector::Selector;
use super::*;
use crate::plugins::kubernetes::known::index::{Index, service_key};
use crate::plugins::kubernetes::known::store::Store;

const WEB: &str = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop, labels: {tier: front}}
spec: {clusterIP: 10.0.0.1, ports: [{name: http, port: 80}]}
---
# nothing
---
kind: Deployment
metadata: {name: web}
";
const LIST: &str = r#"{"kind": "List", "apiVersion": "v1", "items": [
    {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "empty"}},
    {"kind": "Service", "apiVersion": "v1", "metadata": {"name": "db"}, "spec": {"clusterIP": "None"}},
    {"kind": "EndpointSlice", "apiVersion": "discovery.k8s.io/v1",
     "metadata": {"name": "db-1", "labels": {"kubernetes.io/service-name": "db"}},
     "addressType": "IPv4", "endpoints": [{"addresses": ["10.1.0.1"], "hostname": "db-0"}]},
    {"kind": "Service", "apiVersion": "serving.knative.dev/v1", "metadata": {"name": "other"}}]}"#;

struct Room {
    folder: tempfile::TempDir,
    files: Files,
    options: SourceOptions,
    index: Arc<Index>,
    feed: Feed,
}

impl Room {
    fn new(options: SourceOptions) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let index = Arc::new(Index::default());
        let (feed, intake) = feed(Store::new(index.clone(), 5, &options.kinds(), None));
        tokio::spawn(intake);
        Self { files: Files::new(vec![folder.path().to_owned()]), folder, options, index, feed }
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("writable");
        std::fs::write(path, text).expect("writable");
    }

    async fn look(&mut self) -> bool {
        let changed = self.files.look();
        if changed {
            tell(&self.files, &self.options, &self.feed).await.expect("open");
        }
        changed
    }

    fn knows(&self, namespace: &str, name: &str) -> bool {
        let key = service_key(namespace, name).expect("a key");
        self.index.services.with(&key, |entry| entry.service().is_some()) == Some(true)
    }
}

#[tokio::test]
async fn files_are_followed() {
    let mut room = Room::new(SourceOptions::default());
    room.write("a.yaml", WEB);
    room.write("below/b.json", LIST);
    room.write("notes.txt", "not: [a manifest");
    room.write(".hidden/c.yaml", "broken: [");
    assert!(room.look().await && room.index.is_synced());
    assert!(room.knows("shop", "web") && room.knows("default", "db") && !room.knows("default", "other"));
    for namespace in ["shop", "default", "empty"] {
        assert!(room.index.has_namespace(namespace.as_bytes()), "{namespace}");
    }
    let key = service_key("default", "db").expect("a key");
    assert_eq!(room.index.services.with(&key, |entry| entry.endpoints().count()), Some(1));
    assert!(!room.look().await, "nothing has changed");

    room.write("a.yaml", "kind: Service\nmetadata: {name: broken\n");
    assert!(!room.look().await && room.knows("shop", "web"), "a broken file changes nothing");
    room.write("a.yaml", &WEB.replace("name: web", "name: shop"));
    assert!(room.look().await && room.knows("shop", "shop") && !room.knows("shop", "web"));
    std::fs::remove_file(room.folder.path().join("below/b.json")).expect("removable");
    assert!(room.look().await && !room.knows("default", "db") && !room.index.has_namespace(b"default"));
}

#[tokio::test]
async fn a_namespace_of_another_type_is_not_taken_for_the_default_one() {
    let mut room = Room::new(SourceOptions::default());
    room.write("a.yaml", &WEB.replace("namespace: shop", "namespace: n"));
    room.write("b.yaml", &WEB.replace("namespace: shop", "namespace: \"n\"").replace("name: web", "name: quoted"));
    room.write("c.yaml", &WEB.replace("namespace: shop", "namespace: ~").replace("name: web", "name: none"));
    assert!(room.look().await);
    assert!(!room.knows("default", "web") && !room.knows("n", "web"));
    assert!(room.knows("n", "quoted") && room.knows("default", "none"));
}

#[tokio::test]
async fn config_maps_are_swapped_as_a_whole() {
    let mut room = Room::new(SourceOptions::default());
    room.write("..1/a.yaml", WEB);
    room.write("..2/a.yaml", &WEB.replace("10.0.0.1", "10.0.0.2"));
    let folder = room.folder.path().to_owned();
    let link = |target: &str, name: &str| {
        let path = folder.join(name);
        let fresh = folder.join("..tmp");
        std::os::unix::fs::symlink(target, &fresh).expect("a link");
        std::fs::rename(fresh, path).expect("renamed");
    };
    link("..1", "..data");
    link("..data/a.yaml", "a.yaml");
    let room = &mut room;
    assert!(room.look().await && !room.look().await);
    link("..2", "..data");
    assert!(room.look().await);
    let address = "10.0.0.2".parse().expect("an address");
    assert_eq!(room.index.owners.holders.with(&address, |_| ()), Some(()));
}

#[tokio::test]
async fn selectors_are_applied() {
    let labels = Selector::parse("tier=front").expect("a selector");
    let namespace_labels = Selector::parse("!hidden").expect("a selector");
    let mut room = Room::new(SourceOptions { labels, namespace_labels, ..SourceOptions::default() });
    room.write("a.yaml", WEB);
    room.write("b.json", LIST);
    room.write("c.yaml", "{kind: Namespace, metadata: {name: shop, labels: {hidden: 'yes'}}}");
    assert!(room.look().await);
    assert!(room.knows("shop", "web") && !room.knows("default", "db"));
    assert!(!room.index.has_namespace(b"shop") && room.index.has_namespace(b"empty"));
}

#[tokio::test]
async fn one_bad_object_costs_no_other() {
    let mut room = Room::new(SourceOptions::default());
    room.write("a.yaml", WEB);
    assert!(room.look().await);
    room.write("a.yaml", &WEB.replace("clusterIP: 10.0.0.1", "clusterIP: [1]"));
    room.write("b.json", LIST);
    assert!(room.look().await && room.knows("shop", "web") && room.knows("default", "db"));
}

#[test]
fn errors_say_where() {
    let folder = tempfile::tempdir().expect("a folder");
    let error = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("writable");
        read(&path).expect_err("broken")
    };
    assert!(error("a.yaml", "a: b\nc: [d\n").starts_with(":"), "{}", error("a.yaml", "a: b\nc: [d\n"));
    let json = error("a.json", "{\n  \"a\": x\n}");
    assert!(json.starts_with(":2:8: expected value"), "{json}");
}
