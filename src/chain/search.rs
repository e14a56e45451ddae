//! Search lists of clients: offered by a plugin that knows them, walked by another one.

use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use super::query::Query;
use crate::host::resolv::ResolvConf;
use crate::wire::name::Name;

/// A plugin that knows the search list of the client's resolver (`search` in resolv.conf).
///
/// A list is identified by its first domain, so that a walk stores and allocates nothing.
pub trait SearchPath: Send + Sync + 'static {
    /// Returns how many octets of the query's name stand before the first domain of its client's
    /// list.
    ///
    /// Returns `None` if the client or its list is unknown, or if the name was not made by the
    /// list: the first domain itself, or a name elsewhere.
    fn given(&self, query: &Query<'_>) -> Option<usize>;

    /// Returns the domain at a place of the list that begins with `first`, which is at 0. The last
    /// one is the root: the name as given. Returns `None` after that.
    fn domain(&self, first: &Name, place: usize) -> Option<Name>;
}

/// The search lists of clients, or why a plugin that could know them does not.
pub type Lists = Result<Arc<dyn SearchPath>, &'static str>;

/// What a plugin offers; set when all plugins of the block are set up, empty if no plugin offers
/// any.
pub type Offered = Arc<OnceLock<Lists>>;

/// Reads the search list of a file in the form of resolv.conf, in lower case. Entries that are not
/// domain names are skipped.
///
/// # Errors
/// The file cannot be read.
pub fn search_list(path: &Path) -> io::Result<Vec<Name>> {
    let domains = ResolvConf::read(path)?.search;
    Ok(domains.iter().filter_map(|word| Name::from_text(word).ok()).map(Name::lowered).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_lower_case_and_other_words_are_skipped() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "search A.example b..c d.example.\n").expect("written");
        let list = search_list(file.path()).expect("read");
        assert_eq!(list.iter().map(ToString::to_string).collect::<Vec<_>>(), ["a.example.", "d.example."]);
        assert!(search_list(Path::new("/none")).is_err());
    }
}
