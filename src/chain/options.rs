//! The options of a plugin's block as data: each is defined once, with its name, its lines in the
//! manual, and how it is read.
//!
//! ```text
//! static OPTIONS: OptionsOf<Limits> = OptionsOf {
//!     all: &[OptionOf {
//!         name: "ttl",
//!         form: "SECONDS",
//!         about: "the TTL of all records (5)",
//!         read: |cursor, limits, _| { limits.ttl = ttl(cursor)?; Ok(()) },
//!     }],
//!     unknown: unknown_property,
//! };
//! ```

use super::doc::{Line, Listed};
use super::setup::Setup;
use crate::corefile::{Cursor, Word};
use crate::error::{Error, Result};

/// One option; `T` is the type that the directive fills in.
pub struct OptionOf<T: 'static> {
    /// Its name in a Corefile.
    pub name: &'static str,
    /// What follows the name, for example `AMOUNT [DURATION]`.
    pub form: &'static str,
    /// What it does, and its default in parentheses: Markdown that continues after the name.
    ///
    /// Empty for an option that is only read because CoreDNS reads it: the manual does not show it,
    /// and no complaint suggests it.
    pub about: &'static str,
    /// Reads the arguments after the name. The cursor stands on the name.
    pub read: fn(&mut Cursor<'_>, &mut T, &Setup<'_>) -> Result<()>,
}

/// All options that a block may have.
pub struct OptionsOf<T: 'static> {
    /// The options, in the order of the manual.
    pub all: &'static [OptionOf<T>],
    /// The message about an option that does not exist; see [`unknown_property`].
    pub unknown: fn(&Word) -> String,
}

impl<T: 'static> OptionsOf<T> {
    /// Reads the block in front of the cursor, if there is one.
    ///
    /// # Errors
    /// An option does not exist, or its arguments are wrong.
    pub fn read(&self, cursor: &mut Cursor<'_>, into: &mut T, s: &Setup<'_>) -> Result<()> {
        while cursor.next_option() {
            let option = self.find(cursor.word().as_str()).ok_or_else(|| self.unknown(cursor))?;
            (option.read)(cursor, into, s)?;
        }
        Ok(())
    }

    /// Returns the option of this name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&'static OptionOf<T>> {
        self.all.iter().find(|option| option.name == name)
    }

    /// Returns the complaint about the current word, which is not an option.
    #[must_use]
    pub fn unknown(&self, cursor: &Cursor<'_>) -> Error {
        let word = cursor.word();
        cursor.unknown(word, (self.unknown)(word), &self.names())
    }

    /// Returns the names of the options that the manual shows.
    #[must_use]
    pub fn names(&self) -> Vec<&'static str> {
        self.lines().iter().map(|line| line.name).collect()
    }
}

/// Returns CoreDNS's usual message about an option that does not exist.
#[must_use]
pub fn unknown_property(word: &Word) -> String {
    format!("Error during parsing: unknown property '{word}'")
}

/// Sets a flag, as an option without arguments does.
///
/// # Errors
/// There are arguments.
pub fn set(cursor: &mut Cursor<'_>, flag: &mut bool) -> Result<()> {
    cursor.args_of(..1)?;
    *flag = true;
    Ok(())
}

//----------- For the manual -------------------------------------------------

impl<T: 'static> Listed for OptionsOf<T> {
    fn lines(&self) -> Vec<Line> {
        let shown = self.all.iter().filter(|option| !option.about.is_empty());
        shown.map(|&OptionOf { name, form, about, .. }| Line { name, form, about }).collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;

    #[test]
    fn an_unknown_option_is_marked_and_the_nearest_one_is_suggested() {
        let error = |option: &str| {
            let text = format!(". {{\n    cache {{\n        {option} 5\n    }}\n}}\n");
            Server::try_new(&text).err().expect("an error").to_string()
        };
        let near = "plugin/cache: Corefile:3 - Error during parsing: unknown property 'sucess'\n  3 |         sucess 5\n    \
                    |         ^^^^^^\nhelp: did you mean 'success'?";
        assert_eq!(error("sucess"), near);
        let all =
            "help: cache knows success, denial, prefetch, serve_stale, serve_stale_policy, servfail, disable, keepttl";
        assert_eq!(error("ttl").lines().last(), Some(all));
    }
}
