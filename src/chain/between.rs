//! The part of [`Setup`] that is between the plugins of a server block: what they offer to each
//! other and ask of each other.

use std::sync::{Arc, OnceLock};

use super::external::{Externals, OfferedExternals};
use super::offers::SearchWish;
use super::search::{Lists, Offered};
use super::setup::Setup;
use super::transfer::{Changes, Transferable, Transfers};
use crate::error::Complaint;
use crate::wire::name::Name;

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

    /// Returns the external addresses of services that a plugin of the block knows; set when all
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

    /// Offers the external addresses of services.
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

    /// Returns the changes of the block's zones. Plugins with zones report to it, and the plugin
    /// that notifies secondaries waits on it.
    #[must_use]
    pub fn zone_changes(&self) -> Arc<Changes> {
        self.draft.offers.changes.clone()
    }
}
