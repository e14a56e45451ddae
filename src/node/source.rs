//! Where the Corefile of a node cache comes from: template, environment and ConfigMap, read at each
//! check.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::kube_dns::KubeDns;
use super::template::{self, Values};
use super::{SetupError, errors};
use crate::args::NodeFlags;
use crate::error::{Error, Result, words};
use crate::host::log;
use crate::host::metrics::Metrics;

/// Where the usual DaemonSets mount the ConfigMap kube-dns.
const KUBE_DNS: &str = "/etc/kube-dns";

/// The Corefile of a node cache.
pub struct NodeCorefile {
    flags: NodeFlags,
    conf: String,
    port: String,
    errors: crate::host::metrics::Counter,
    known: Mutex<Known>,
}

/// What is kept from one check to the next.
#[derive(Default)]
struct Known {
    /// The last valid ConfigMap.
    kube_dns: KubeDns,
    /// The error of the last ConfigMap, which is logged once.
    complaint: String,
    /// The last text that was made.
    text: String,
}

impl NodeCorefile {
    /// Returns a source for the files in the flags; `conf` is the Corefile that is used unchanged
    /// if there is no template.
    #[must_use]
    pub fn new(flags: &NodeFlags, conf: Option<&str>, port: &str, metrics: &Metrics) -> Self {
        Self {
            flags: flags.clone(),
            conf: conf.unwrap_or(&flags.corefile).to_owned(),
            port: port.to_owned(),
            errors: errors(metrics, SetupError::ConfigMap),
            known: Mutex::default(),
        }
    }

    /// Returns the current Corefile: its name in errors, and its text.
    ///
    /// # Errors
    /// Neither template nor Corefile can be read, or the template has an unknown word. An invalid
    /// ConfigMap is not an error: the last valid one is used.
    pub fn read(&self) -> Result<(String, Vec<u8>)> {
        let made = self.make();
        if made.is_err() {
            self.errors.inc();
        }
        made
    }

    fn make(&self) -> Result<(String, Vec<u8>)> {
        let name = self.flags.base.display().to_string();
        let base = match std::fs::read(&self.flags.base) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return self.ready_made(),
            Err(source) => return Err(Error::Io { what: format!("open the Corefile's template {name}"), source }),
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        self.look_at_kube_dns(&mut known);
        let service = &self.flags.upstream_service;
        let cluster_dns: Option<IpAddr> =
            std::env::var(template::variable(service)).ok().and_then(|address| address.parse().ok());
        let values = Values {
            addresses: &self.flags.addresses,
            port: &self.port,
            cluster_dns,
            service,
            prometheus: &self.flags.prometheus,
            kube_dns: &known.kube_dns,
        };
        let text = template::render(&name, &base, &values).map_err(Error::Corefile)?;
        if known.text != text {
            let (domains, upstreams) = (known.kube_dns.stub_domains.len(), known.kube_dns.upstreams.join(" "));
            let upstreams = if upstreams.is_empty() { "/etc/resolv.conf" } else { &upstreams };
            log::info(
                "",
                format_args!("Updated Corefile with {domains} custom stubdomains and upstream servers {upstreams}"),
            );
            known.text.clone_from(&text);
        }
        Ok((name, text.into_bytes()))
    }

    /// Returns the Corefile itself, if there is no template.
    fn ready_made(&self) -> Result<(String, Vec<u8>)> {
        let bytes = std::fs::read(&self.conf).map_err(|error| {
            let (base, why) = (self.flags.base.display(), words(&error));
            let help = match error.kind() {
                io::ErrorKind::NotFound => format!(
                    "\nhelp: a node cache makes its Corefile from {base} (-basecorefile), which is not there either; in the \
                     usual DaemonSets the ConfigMap node-local-dns is mounted so"
                ),
                _ => String::new(),
            };
            Error::Other(format!("open {}: {why}{help}", self.conf))
        })?;
        Ok((self.conf.clone(), bytes))
    }

    fn look_at_kube_dns(&self, known: &mut Known) {
        let folder: PathBuf = match &self.flags.kube_dns {
            Some(folder) => folder.clone(),
            None if Path::new(KUBE_DNS).is_dir() => KUBE_DNS.into(),
            None => return,
        };
        match KubeDns::read(&folder) {
            Ok(kube_dns) => {
                known.kube_dns = kube_dns;
                known.complaint.clear();
            }
            Err(complaint) if complaint == known.complaint => {}
            Err(complaint) => {
                self.errors.inc();
                log::error("", format_args!("Invalid config: {complaint}\nwhat it said before stays in use"));
                known.complaint = complaint;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_in_the_config_map_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let upstreams = folder.path().join("upstreamNameservers");
        let flags = NodeFlags {
            addresses: vec!["169.254.20.10".parse().unwrap()],
            base: folder.path().join("Corefile.base"),
            kube_dns: Some(folder.path().into()),
            ..NodeFlags::default()
        };
        let metrics = Metrics::default();
        let source = NodeCorefile::new(&flags, Some("/nowhere/Corefile"), "53", &metrics);
        let said = source.read().unwrap_err().to_string();
        assert!(said.contains("open /nowhere/Corefile") && said.contains("Corefile.base"), "{said}");
        std::fs::write(&flags.base, "forward . __PILLAR__UPSTREAM__SERVERS__\n").unwrap();
        let text = || String::from_utf8(source.read().unwrap().1).unwrap();
        assert_eq!(text(), "forward . /etc/resolv.conf\n");
        std::fs::write(&upstreams, r#"["9.9.9.9"]"#).unwrap();
        assert_eq!(text(), "forward . 9.9.9.9\n");
        std::fs::write(&upstreams, r#"["9.9.9"#).unwrap();
        assert_eq!(text(), "forward . 9.9.9.9\n");
        assert_eq!(text(), "forward . 9.9.9.9\n");
        assert_eq!(errors(&metrics, SetupError::ConfigMap).get(), 2, "one look without files, one mistake, said once");
        std::fs::remove_file(&upstreams).unwrap();
        assert_eq!(text(), "forward . /etc/resolv.conf\n");
    }
}
