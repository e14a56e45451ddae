//! # metadata — let plugins read what others know about a query
//!
//! Some plugins publish values about a query, and others read them. They do so only in server
//! blocks with this directive.
//!
//! ## Syntax
//!
//! ```text
//! metadata [ZONES...]
//! ```
//!
//! **ZONES** are the names that have values, by default all of the server block.
//!
//! | label | value |
//! |---|---|
//! | `forward/upstream` | the upstream that answered, `192.0.2.1:53`; only *log* can read it |
//! | `geoip/...` | where the client is, see *geoip* |
//! | `kubernetes/client-namespace` | the namespace of the client's Pod, with `pods verified` |
//! | `kubernetes/service`, `/namespace`, `/kind`, `/endpoint`, `/port-name`, `/protocol`, `/cluster`, `/zone` | the parts of a name of the cluster |
//! | `kubernetes/parse-error` | why a name below the cluster's zone is not a name of the cluster |
//! | `log/type`, `log/class` | what kind of reply it is: `success`, `denial`, `error`; only *log* can read it |
//! | `view/name` | the block's view |
//!
//! The readers are *log* (`{/LABEL}`), *rewrite* (`edns0 local set CODE {LABEL}`, `name regex` with
//! `metadata`), *template* (`.Meta "LABEL"`) and the expressions of *template* and *view*
//! (`metadata('LABEL')`). A value is made when it is read, and is that of the client's own
//! question: *rewrite* does not change it.
//!
//! ## Examples
//!
//! ```corefile
//! . {
//!     metadata
//!     log . "{remote} {name} {rcode} {/forward/upstream}"
//!     forward . 192.0.2.1 192.0.2.2
//! }
//! ```

use crate::chain::Plugin;
use crate::chain::doc::doc_of;
use crate::chain::setup::{Registration, Setup};
use crate::chain::zones::Zones;
use crate::error::Result;

/// The registration of this plugin.
pub const PLUGIN: Registration = Registration { name: "metadata", setup, doc: doc_of!("metadata.rs"), options: &[] };

/// Its seat does nothing; it is there so that metrics show it.
struct Metadata;

fn setup(s: &mut Setup<'_>) -> Result<()> {
    let mut cursor = s.cursor();
    cursor.next_occurrence();
    let words = cursor.args();
    let zones = Zones::read(&cursor, &words, s.keys);
    if cursor.next_option() || cursor.next_occurrence() {
        return Err(cursor.arg_err());
    }
    s.keep_metadata(zones);
    s.chain(Metadata);
    Ok(())
}

impl Plugin for Metadata {}

#[cfg(test)]
mod tests {
    use super::PLUGIN;
    use crate::testing::Server;

    #[test]
    fn only_one_without_a_block() {
        assert_eq!(PLUGIN.name, "metadata");
        for wrong in ["metadata {\na\n}", "metadata\nmetadata"] {
            let error = Server::try_new(&format!(". {{\n{wrong}\nwhoami\n}}\n")).err().expect(wrong).to_string();
            assert!(error.contains("plugin/metadata"), "{error}");
        }
        let _ = Server::new(". {\nmetadata example.com net\nwhoami\n}\n");
    }
}
