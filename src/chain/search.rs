//! Search lists of clients: offered by a plugin that knows them, walked by one that does not.

use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use super::query::Query;
use crate::wire::name::Name;

/// Who knows the search list of the resolver that asks (`search` in resolv.conf).
///
/// A list is told by its first domain, so that walking it keeps nothing and allocates nothing.
pub trait SearchPath: Send + Sync + 'static {
    /// How many octets of the query's name stand in front of the first domain of its client's list.
    ///
    /// Nothing when the client or its list is not known, or when the name is not one that the list made: the first
    /// domain itself, or a name elsewhere.
    fn given(&self, query: &Query<'_>) -> Option<usize>;

    /// The domain at a place of the list that begins with `first`, which stands at 0. The last one is the root: the
    /// name as it was given. Nothing behind that.
    fn domain(&self, first: &Name, place: usize) -> Option<Name>;
}

/// The search lists of clients, or why a plugin that could know them does not.
pub type Lists = Result<Arc<dyn SearchPath>, &'static str>;

/// What a plugin offers; there when all plugins of the block are set up, empty if the block has no such plugin.
pub type Offered = Arc<OnceLock<Lists>>;

/// The `search` list of a file in the form of resolv.conf (resolv.conf(5)), in lower case: the last `search` or `domain`
/// line counts. What is no domain name is left out.
///
/// # Errors
/// The file cannot be read.
pub fn search_list(path: &Path) -> io::Result<Vec<Name>> {
    let text = std::fs::read_to_string(path)?;
    let mut list = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with(['#', ';'])) {
        let mut words = line.split_whitespace();
        let most = match words.next() {
            Some("search") => usize::MAX,
            Some("domain") => 1,
            _ => continue,
        };
        list = words.take(most).filter_map(|word| Name::from_text(word).ok()).map(Name::lowered).collect();
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_counts() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let list = |text: &str| {
            std::fs::write(file.path(), text).expect("written");
            let list = search_list(file.path()).expect("read");
            list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(list("nameserver 192.0.2.1\n"), "");
        assert_eq!(list("# search x\n search A.example b..c d.example.\n"), "a.example. d.example.");
        assert_eq!(list("search a b\ndomain c d\n"), "c.");
        assert_eq!(list("domain c\nsearch a b\nsearching z\n"), "a. b.");
        assert!(search_list(Path::new("/none")).is_err());
    }
}
