//! Which upstreams there are: files and host names say so, and may say something else later.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::exchange::Forward;
use super::metrics::{self, Counts};
use super::names::Lost;
use super::to::{self, To};
use super::upstream::{Address, FROM, Upstream};
use super::vitals::Vitals;
use crate::error::{Error, Result, of_plugin};
use crate::host::log;

/// How often files of upstreams are read, and names asked for that have no addresses yet.
const POLL: Duration = Duration::from_secs(1);

/// How long the first start waits for addresses before it goes on without.
const AT_START: Duration = Duration::from_secs(2);

/// What one TO argument names now.
#[derive(Debug, Default, Clone)]
pub(super) struct Listed {
    addresses: Vec<Address>,
    /// How long to leave it at that.
    good_for: Duration,
}

impl Listed {
    /// What an argument names before anybody was asked.
    pub(super) fn of(to: &To) -> Self {
        Self { addresses: to.addresses(), good_for: POLL }
    }
}

impl Forward {
    /// The arguments that may name other upstreams later.
    pub(super) fn changeable(&self) -> impl Iterator<Item = usize> + use<> {
        let is_fixed = |to: &To| matches!(to, To::Address(_));
        let all: Vec<usize> = (0..self.entries.len()).filter(|&at| !is_fixed(&self.entries[at])).collect();
        all.into_iter()
    }

    /// Finds the addresses of host names before the configuration goes live. At the first start a name server that
    /// does not answer keeps nobody waiting for long: what needs no upstream is served, and the name is asked for again.
    ///
    /// # Errors
    /// A name has no addresses; at a reload also that nobody said.
    pub(super) async fn find_hosts(self: Arc<Self>, first: bool) -> Result<()> {
        for (at, to) in self.entries.iter().enumerate() {
            let To::Host(host) = to else { continue };
            let found = host.upstreams(&self.options.resolvers);
            let found = if first {
                let late = |_| Err(Lost::NoAnswer(format!("no answer within {AT_START:?}")));
                tokio::time::timeout(AT_START, found).await.unwrap_or_else(late)
            } else {
                found.await
            };
            match found {
                Ok((addresses, good_for)) => _ = self.list(at, Listed { addresses, good_for }),
                Err(Lost::NoAnswer(why)) if first => log::error(
                    FROM,
                    format_args!(
                        "failed to resolve \"{}\": {why}; it is asked for again, all else is served",
                        host.text
                    ),
                ),
                Err(Lost::NoSuchHost(why) | Lost::NoAnswer(why)) => {
                    return Err(Error::Other(format!(
                        "{}: failed to resolve \"{}\": {why}",
                        of_plugin(FROM),
                        host.text
                    )));
                }
            }
        }
        Ok(())
    }

    /// Looks again and again what one argument names; it keeps its last good list.
    pub(super) async fn follow(self: Arc<Self>, at: usize) {
        let mut complained = false;
        let mut pause = self.lists.lock().unwrap_or_else(PoisonError::into_inner)[at].good_for;
        loop {
            tokio::time::sleep(pause).await;
            match self.look(at).await {
                Ok(listed) => {
                    complained = false;
                    pause = listed.good_for;
                    if self.list(at, listed) {
                        let upstreams = self.upstreams.load();
                        let names: Vec<&str> = upstreams.iter().map(|upstream| upstream.address.to.as_str()).collect();
                        log::info(FROM, format_args!("upstreams have changed: {}", names.join(" ")));
                    }
                }
                Err(why) => {
                    pause = POLL;
                    if !std::mem::replace(&mut complained, true) {
                        metrics::list_failures(&self.host, self.entries[at].text()).inc();
                        log::warning(FROM, format_args!("{why}; the last good list is kept"));
                    }
                }
            }
        }
    }

    async fn look(&self, at: usize) -> std::result::Result<Listed, String> {
        match &self.entries[at] {
            To::Address(address) => Ok(Listed { addresses: vec![address.clone()], good_for: Duration::MAX }),
            To::File(path, scheme, _) => match to::name_servers(path, *scheme) {
                Ok(servers) if servers.is_empty() => Err(format!("{path}: no name servers in it")),
                Ok(addresses) => Ok(Listed { addresses, good_for: POLL }),
                Err(error) => Err(format!("{path}: {error}")),
            },
            To::Host(host) => match host.upstreams(&self.options.resolvers).await {
                Ok((addresses, good_for)) => Ok(Listed { addresses, good_for }),
                Err(Lost::NoSuchHost(why) | Lost::NoAnswer(why)) => Err(format!("{}: {why}", host.text)),
            },
        }
    }

    /// Takes what an argument names now; returns whether it is something else than before, in whatever order.
    fn list(&self, at: usize, listed: Listed) -> bool {
        let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::replace(&mut lists[at], listed);
        let is_new = old.addresses.len() != lists[at].addresses.len()
            || lists[at].addresses.iter().any(|address| !old.addresses.contains(address));
        if is_new {
            let all: Vec<Address> = lists.iter().flat_map(|listed| listed.addresses.clone()).collect();
            self.use_upstreams(&all);
        } else {
            // Name servers turn the order: that is no news.
            lists[at].addresses = old.addresses;
        }
        is_new
    }

    /// Uses these upstreams from now on, each once; those that are known already keep sockets and health.
    pub(super) fn use_upstreams(&self, addresses: &[Address]) {
        let current = self.upstreams.load();
        let mut upstreams: Vec<Arc<Upstream>> = Vec::new();
        for address in addresses {
            if upstreams.iter().any(|upstream| upstream.address == *address) {
                continue;
            }
            let known = current.iter().find(|upstream| upstream.address == *address).cloned();
            let transport =
                |counts: &Counts, vitals: &Arc<Vitals>| self.dialer.transport(address, &self.options, (counts, vitals));
            upstreams.push(known.unwrap_or_else(|| Arc::new(Upstream::new(address, &self.host, transport))));
        }
        self.upstreams.store(Arc::new(upstreams));
    }
}
