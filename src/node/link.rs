//! The interface that has the local addresses.
//!
//! It is a dummy: no packet leaves through it, it only makes the addresses local to the machine. On
//! kernels without dummies it is a bridge without ports, which has the same effect. As in
//! node-cache the interface stays down, so that programs that collect the addresses of a node do
//! not find these; only IPv6 addresses need an interface that is up.

use std::net::IpAddr;

use futures_util::TryStreamExt;
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use rtnetlink::packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo};
use rtnetlink::{Error, Handle, LinkBridge, LinkDummy, LinkUnspec};
use tokio::task::JoinHandle;

/// Marks a bridge that Signpost made.
const OURS: &str = "signpost node cache";

/// ENODEV and EOPNOTSUPP.
const NO_DEVICE: i32 = 19;
const NOT_SUPPORTED: i32 = 95;

//----------- Link -----------------------------------------------------------

/// The interface of a node cache.
pub(super) struct Link {
    name: String,
    addresses: Vec<IpAddr>,
    handle: Handle,
    /// The task that reads the kernel's replies.
    connection: JoinHandle<()>,
}

/// An existing interface.
struct Found {
    index: u32,
    /// Whether a node cache made it. Only then is it removed, and cleared of foreign addresses.
    is_ours: bool,
    is_up: bool,
}

/// What failed, as node-cache counts it.
#[derive(Debug)]
pub(super) enum Failure {
    /// The interface cannot be made.
    Add(Error),
    /// The interface cannot be read or changed.
    Check(Error),
}

impl Link {
    /// Prepares the interface of this name, without making it.
    ///
    /// # Errors
    /// No socket to the kernel can be opened.
    pub(super) fn new(name: &str, addresses: &[IpAddr]) -> std::io::Result<Self> {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        let connection = tokio::spawn(connection);
        Ok(Self { name: name.to_owned(), addresses: addresses.to_vec(), handle, connection })
    }

    /// Makes the interface if it is missing, and adds its addresses. Returns whether it was made.
    /// `alone`: no other process uses it, so addresses that a killed predecessor left are removed.
    ///
    /// # Errors
    /// The kernel's error.
    pub(super) async fn ensure(&self, alone: bool) -> Result<bool, Failure> {
        let found = self.find().await.map_err(Failure::Check)?;
        let is_new = found.is_none();
        if is_new {
            self.make().await.map_err(Failure::Add)?;
        }
        let found = match found {
            Some(found) => Some(found),
            None => self.find().await.map_err(Failure::Check)?,
        };
        let Some(found) = found else { return Ok(false) };
        self.add_addresses(&found).await.map_err(Failure::Check)?;
        if alone && found.is_ours {
            self.remove_other_addresses(&found).await.map_err(Failure::Check)?;
        }
        Ok(is_new)
    }

    /// Removes the interface; from an interface that is not ours, only our addresses.
    ///
    /// # Errors
    /// The kernel's error.
    pub(super) async fn remove(&self) -> Result<(), Error> {
        let Some(found) = self.find().await? else { return Ok(()) };
        if found.is_ours {
            return self.handle.link().del(found.index).execute().await;
        }
        for message in self.addresses_of(found.index).await? {
            if local(&message).is_some_and(|address| self.addresses.contains(&address)) {
                self.handle.address().del(message).execute().await?;
            }
        }
        Ok(())
    }

    async fn find(&self) -> Result<Option<Found>, Error> {
        let get = self.handle.link().get().match_name(self.name.clone());
        let link = match std::pin::pin!(get.execute()).try_next().await {
            Ok(Some(link)) => link,
            Ok(None) => return Ok(None),
            Err(error) if code(&error) == Some(NO_DEVICE) => return Ok(None),
            Err(error) => return Err(error),
        };
        let is_ours = link.attributes.iter().any(|attribute| match attribute {
            LinkAttribute::IfAlias(alias) => alias == OURS,
            LinkAttribute::LinkInfo(info) => info.contains(&LinkInfo::Kind(InfoKind::Dummy)),
            _ => false,
        });
        let is_up = link.header.flags.contains(LinkFlags::Up);
        Ok(Some(Found { index: link.header.index, is_ours, is_up }))
    }

    async fn make(&self) -> Result<(), Error> {
        let dummy = self.handle.link().add(LinkDummy::new(&self.name).build()).execute().await;
        match dummy {
            Err(error) if code(&error) == Some(NOT_SUPPORTED) => {}
            done => return done,
        }
        self.handle.link().add(LinkBridge::new(&self.name).down().build()).execute().await?;
        self.handle.link().set(LinkUnspec::new_with_name(&self.name).alias(OURS).build()).execute().await
    }

    async fn add_addresses(&self, found: &Found) -> Result<(), Error> {
        if !found.is_up && self.addresses.iter().any(IpAddr::is_ipv6) {
            self.handle.link().set(LinkUnspec::new_with_index(found.index).up().build()).execute().await?;
        }
        let there = self.addresses_of(found.index).await?;
        for &address in &self.addresses {
            if there.iter().any(|message| local(message) == Some(address)) {
                continue;
            }
            let prefix = if address.is_ipv6() { 128 } else { 32 };
            let mut add = self.handle.address().add(found.index, address, prefix);
            if address.is_ipv6() {
                // No other host can have it here, so duplicate address detection is unnecessary.
                add.message_mut().attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
            }
            add.execute().await?;
        }
        Ok(())
    }

    async fn remove_other_addresses(&self, found: &Found) -> Result<(), Error> {
        for message in self.addresses_of(found.index).await? {
            let is_foreign = |address: IpAddr| !self.addresses.contains(&address) && !is_link_local_v6(address);
            if local(&message).is_some_and(is_foreign) {
                self.handle.address().del(message).execute().await?;
            }
        }
        Ok(())
    }

    async fn addresses_of(&self, index: u32) -> Result<Vec<AddressMessage>, Error> {
        self.handle.address().get().set_link_index_filter(index).execute().try_collect().await
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

fn local(message: &AddressMessage) -> Option<IpAddr> {
    let find = |wanted: fn(&AddressAttribute) -> Option<IpAddr>| message.attributes.iter().find_map(wanted);
    find(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    })
    .or_else(|| {
        find(|attribute| match attribute {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        })
    })
}

/// Returns whether this is a link-local address: the kernel adds one to each interface that is up.
fn is_link_local_v6(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

/// Returns the number of the kernel's error.
fn code(error: &Error) -> Option<i32> {
    match error {
        Error::NetlinkError(message) => message.code.map(|code| -code.get()),
        _ => None,
    }
}
