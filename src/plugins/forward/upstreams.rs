//! The upstreams of one directive: addresses, and what files and host names say, which may change.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;

use super::directive::Directive;
use super::metrics;
use super::to::To;
use super::upstream::Upstream;
use crate::error::{Error, Result, of_plugin};
use crate::host::{Host, log};
use crate::remote::{self, Address, Dialer, Lost};

/// Interval between reads of a file, and between look-ups of a name that has no addresses yet.
const POLL: Duration = Duration::from_secs(1);

/// How long the first start waits for addresses before it goes on without them.
const AT_START: Duration = Duration::from_secs(2);

/// The upstreams of one directive. A query takes the list of that moment.
pub(super) struct Upstreams {
    directive: &'static Directive,
    /// The TO arguments.
    entries: Vec<To>,
    /// What each of the entries names now.
    lists: Mutex<Vec<Listed>>,
    current: ArcSwap<Vec<Arc<Upstream>>>,
    dialer: Dialer,
    host: Arc<Host>,
}

/// What one TO argument names now.
struct Listed {
    addresses: Vec<Address>,
    /// Time until it is looked up again.
    good_for: Duration,
}

impl Upstreams {
    pub(super) fn new(
        directive: &'static Directive,
        entries: Vec<To>,
        options: remote::DialOptions,
        host: &Arc<Host>,
    ) -> Self {
        let listed = |to: &To| Listed { addresses: to.addresses(), good_for: POLL };
        let lists: Vec<Listed> = entries.iter().map(listed).collect();
        let addresses: Vec<Address> = lists.iter().flat_map(|listed| listed.addresses.clone()).collect();
        let upstreams = Self {
            directive,
            entries,
            lists: Mutex::new(lists),
            current: ArcSwap::default(),
            dialer: Dialer::new(options),
            host: host.clone(),
        };
        upstreams.replace(&addresses);
        upstreams
    }

    /// The upstreams of this moment.
    pub(super) fn load(&self) -> Arc<Vec<Arc<Upstream>>> {
        self.current.load_full()
    }

    /// The arguments that may name other upstreams later, as places among all arguments.
    pub(super) fn changeable(&self) -> Vec<usize> {
        let is_fixed = |to: &To| matches!(to, To::Address(_));
        (0..self.entries.len()).filter(|&at| !is_fixed(&self.entries[at])).collect()
    }

    /// Looks up host names before the configuration goes live. At the first start a name server
    /// that does not answer delays it by no more than 2 s: names that need no upstream are served,
    /// and the host name is looked up again.
    ///
    /// # Errors
    /// A name has no addresses; at a reload also that no name server answered.
    pub(super) async fn find_hosts(&self, first: bool) -> Result<()> {
        for (at, to) in self.entries.iter().enumerate() {
            let To::Host(host) = to else { continue };
            let found = self.dialer.look_up(host);
            let found = if first {
                let late = |_| Err(Lost::NoAnswer(format!("no answer within {AT_START:?}")));
                tokio::time::timeout(AT_START, found).await.unwrap_or_else(late)
            } else {
                found.await
            };
            match found {
                Ok((addresses, good_for)) => _ = self.list(at, Listed { addresses, good_for }),
                Err(Lost::NoAnswer(why)) if first => {
                    let what = format_args!("failed to resolve \"{}\": {why}", host.text);
                    log::error(self.directive.name, format_args!("{what}; it is asked for again, all else is served"));
                }
                Err(Lost::NoSuchHost(why) | Lost::NoAnswer(why)) => {
                    return Err(Error::Other(format!(
                        "{}: failed to resolve \"{}\": {why}",
                        of_plugin(self.directive.name),
                        host.text
                    )));
                }
            }
        }
        Ok(())
    }

    /// Keeps the list of one argument up to date. While that fails, the last good list stays.
    pub(super) async fn follow(&self, at: usize) {
        let mut complained = false;
        let mut pause = self.lists.lock().unwrap_or_else(PoisonError::into_inner)[at].good_for;
        loop {
            tokio::time::sleep(pause).await;
            match self.look(at).await {
                Ok(listed) => {
                    complained = false;
                    pause = listed.good_for;
                    if self.list(at, listed) {
                        let upstreams = self.load();
                        let names: Vec<&str> = upstreams.iter().map(|upstream| upstream.address.to.as_str()).collect();
                        log::info(self.directive.name, format_args!("upstreams have changed: {}", names.join(" ")));
                    }
                }
                Err(why) => {
                    pause = POLL;
                    if !std::mem::replace(&mut complained, true) {
                        metrics::list_failures(&self.host, self.entries[at].text()).inc();
                        log::warning(self.directive.name, format_args!("{why}; the last good list is kept"));
                    }
                }
            }
        }
    }

    async fn look(&self, at: usize) -> std::result::Result<Listed, String> {
        match &self.entries[at] {
            To::Address(address) => Ok(Listed { addresses: vec![address.clone()], good_for: Duration::MAX }),
            To::File(path, scheme, _) => match Address::of_file(path, *scheme) {
                Ok(servers) if servers.is_empty() => Err(format!("{path}: no name servers in it")),
                Ok(addresses) => Ok(Listed { addresses, good_for: POLL }),
                Err(error) => Err(format!("{path}: {error}")),
            },
            To::Host(host) => match self.dialer.look_up(host).await {
                Ok((addresses, good_for)) => Ok(Listed { addresses, good_for }),
                Err(Lost::NoSuchHost(why) | Lost::NoAnswer(why)) => Err(format!("{}: {why}", host.text)),
            },
        }
    }

    /// Takes what an argument names now. Returns whether that differs from before; the order does
    /// not count, since name servers rotate it.
    fn list(&self, at: usize, listed: Listed) -> bool {
        let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::replace(&mut lists[at], listed);
        let is_new = old.addresses.len() != lists[at].addresses.len()
            || lists[at].addresses.iter().any(|address| !old.addresses.contains(address));
        if is_new {
            let all: Vec<Address> = lists.iter().flat_map(|listed| listed.addresses.clone()).collect();
            self.replace(&all);
        } else {
            lists[at].addresses = old.addresses;
        }
        is_new
    }

    /// Uses these upstreams from now on, each once. Those that were in use before keep their
    /// sockets and health.
    fn replace(&self, addresses: &[Address]) {
        let current = self.load();
        let mut upstreams: Vec<Arc<Upstream>> = Vec::new();
        for address in addresses {
            if upstreams.iter().any(|upstream| upstream.address == *address) {
                continue;
            }
            let known = current.iter().find(|upstream| upstream.address == *address).cloned();
            let new = || Arc::new(Upstream::new(address, &self.dialer, self.directive, &self.host));
            upstreams.push(known.unwrap_or_else(new));
        }
        self.current.store(Arc::new(upstreams));
    }
}
