//! What the plugins of a server block offer to each other, without knowing one another: a plugin
//! asks for a thing while it is set up, and gets it when all of them are.

use std::sync::{Arc, OnceLock};

use super::external::{Externals, OfferedExternals};
use super::search::{Lists, Offered};
use super::setup::Setup;
use super::transfer::{Changes, Transferable, Transfers};
use crate::corefile::ServerBlock;
use crate::error::{Complaint, Result};
use crate::wire::name::Name;

/// Offers and wishes of the plugins of one block.
#[derive(Default)]
pub(super) struct Offers {
    from_memory: Vec<Name>,
    memory: Arc<OnceLock<Vec<Name>>>,
    search_offers: Vec<(&'static str, Lists)>,
    search_wishes: Vec<SearchWish>,
    externals: Option<Arc<dyn Externals>>,
    external_wish: Option<(OfferedExternals, Complaint)>,
    transfers: Arc<Transfers>,
    transferable: Vec<Arc<dyn Transferable>>,
    changes: Arc<Changes>,
}

/// A plugin wants the search lists that another plugin knows.
struct SearchWish {
    /// The other plugin's name, as it stands in the Corefile.
    of: String,
    offered: Offered,
    /// The error if the other plugin is present and has no lists.
    complaint: Complaint,
}

impl Offers {
    /// Tells which zones are answered from memory, and which can be transferred.
    pub(super) fn hand_over_zones(&mut self) {
        // The cell is set once.
        let _ = self.memory.set(std::mem::take(&mut self.from_memory));
        self.transfers.set(std::mem::take(&mut self.transferable));
    }

    /// Gives search lists to the plugins that walk them. As in CoreDNS, a plugin may be named that
    /// is missing, but not one that is present and has no lists.
    pub(super) fn hand_over_search_lists(&mut self, block: &ServerBlock) -> Result<()> {
        for wish in std::mem::take(&mut self.search_wishes) {
            match self.search_offers.iter().find(|(plugin, _)| *plugin == wish.of) {
                // The cell is set once.
                Some((_, lists)) => drop(wish.offered.set(lists.clone())),
                None if block.directive(&wish.of).is_some() => return Err(wish.complaint.into()),
                None => {}
            }
        }
        Ok(())
    }

    /// Gives the external addresses of services to the plugin that names them.
    pub(super) fn hand_over_externals(&mut self) -> Result<()> {
        match (self.external_wish.take(), self.externals.take()) {
            (None, _) => Ok(()),
            (Some((_, complaint)), None) => Err(complaint.into()),
            // The cell is set once.
            (Some((offered, _)), Some(externals)) => {
                let _ = offered.set(externals);
                Ok(())
            }
        }
    }
}

impl Setup<'_> {
    /// Declares that this plugin answers every name of these zones from memory: the plugins below
    /// it never see one.
    pub fn answers_from_memory(&mut self, zones: impl IntoIterator<Item = Name>) {
        self.draft.offers.from_memory.extend(zones);
    }

    /// Returns the zones that the block answers from memory; set when all plugins are set up.
    #[must_use]
    pub fn memory_zones(&self) -> Arc<OnceLock<Vec<Name>>> {
        self.draft.offers.memory.clone()
    }

    /// Offers the search lists of clients, or the reason why there are none.
    pub fn offer_search_lists(&mut self, lists: Lists) {
        self.draft.offers.search_offers.push((self.plugin, lists));
    }

    /// Returns the search lists that the plugin called `of` knows; set when all plugins are set up.
    ///
    /// If the block has that plugin and it knows none, the Corefile is refused with `complaint`.
    #[must_use]
    pub fn search_lists(&mut self, of: &str, complaint: Complaint) -> Offered {
        let offered = Offered::default();
        self.draft.offers.search_wishes.push(SearchWish { of: of.to_owned(), offered: offered.clone(), complaint });
        offered
    }

    /// Returns what a plugin of the block knows of services as reached from outside; set when all
    /// plugins are set up.
    ///
    /// If no plugin does, the Corefile is refused with `complaint`.
    #[must_use]
    pub fn externals(&mut self, complaint: Complaint) -> OfferedExternals {
        let offered = OfferedExternals::default();
        self.draft.offers.external_wish = Some((offered.clone(), complaint));
        offered
    }

    /// Returns whether a plugin above asks where services are reached from outside.
    #[must_use]
    pub fn wants_externals(&self) -> bool {
        self.draft.offers.external_wish.is_some()
    }

    /// Offers what is known of services as reached from outside.
    pub fn offer_externals(&mut self, externals: Arc<dyn Externals>) {
        self.draft.offers.externals = Some(externals);
    }

    /// Offers zones for transfer.
    pub fn offer_transfer(&mut self, zones: Arc<dyn Transferable>) {
        self.draft.offers.transferable.push(zones);
    }

    /// Returns the zones of the block that can be transferred; set when all plugins are set up.
    #[must_use]
    pub fn transfers(&self) -> Arc<Transfers> {
        self.draft.offers.transfers.clone()
    }

    /// Returns what a plugin of the block with zones tells of their changes, and what the plugin
    /// that notifies secondaries hears of.
    #[must_use]
    pub fn zone_changes(&self) -> Arc<Changes> {
        self.draft.offers.changes.clone()
    }
}
