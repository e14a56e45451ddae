//! What the plugins of a server block offer to each other, without knowing one another: a plugin
//! asks for a thing while it is set up, and gets it when all of them are.

use std::sync::{Arc, OnceLock};

use super::external::{Externals, OfferedExternals};
use super::search::{Lists, Offered};
use super::transfer::{Changes, Transferable, Transfers};
use crate::corefile::ServerBlock;
use crate::error::{Complaint, Result};
use crate::wire::name::Name;

/// Offers and wishes of the plugins of one block.
#[derive(Default)]
pub(super) struct Offers {
    pub(super) from_memory: Vec<Name>,
    pub(super) memory: Arc<OnceLock<Vec<Name>>>,
    pub(super) search_offers: Vec<(&'static str, Lists)>,
    pub(super) search_wishes: Vec<SearchWish>,
    pub(super) externals: Option<Arc<dyn Externals>>,
    pub(super) external_wish: Option<(OfferedExternals, Complaint)>,
    pub(super) transfers: Arc<Transfers>,
    pub(super) transferable: Vec<Arc<dyn Transferable>>,
    pub(super) changes: Arc<Changes>,
}

/// A plugin wants the search lists that another plugin knows.
pub(super) struct SearchWish {
    /// The other plugin's name, as it stands in the Corefile.
    pub(super) of: String,
    pub(super) offered: Offered,
    /// The error if the other plugin is present and has no lists.
    pub(super) complaint: Complaint,
}

impl Offers {
    /// Publishes which zones are answered from memory, and which can be transferred.
    pub(super) fn hand_over_zones(&mut self) {
        // The cell is set once.
        let _ = self.memory.set(std::mem::take(&mut self.from_memory));
        self.transfers.set(std::mem::take(&mut self.transferable));
    }

    /// Gives search lists to the plugins that try their domains. As in CoreDNS, a plugin may be
    /// named that is missing, but not one that is present and has no lists.
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
