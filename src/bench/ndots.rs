//! What a stub resolver sends for one look-up: the walk along its search list, as a pure function.
//!
//! resolv.conf(5) says that a name with fewer than `ndots` dots is first asked for with each domain
//! of `search` appended. It does not say when the walk ends, and the C libraries differ. The rules
//! here are taken from their code (glibc 2.36 `resolv/res_query.c`, musl 1.2.3
//! `src/network/lookup_name.c`, Go 1.26 `net/dnsclient_unix.go`), and `tests/resolvers.rs` compares
//! them with all three as they run:
//!
//! - **glibc** asks for A and AAAA of each name, and continues until one of them has an address. A
//!   name that exists without addresses (NODATA) does not end the walk. A name with enough dots is
//!   asked for unchanged first, and then with the search list.
//! - **musl** also asks for both. It continues if either of them does not exist (NXDOMAIN); a name
//!   that exists without addresses ends the walk. A name with enough dots is only asked for
//!   unchanged.
//! - **Go**'s own resolver walks as glibc does; A and AAAA are sent in any order.
//!
//! All of them ask for a name with a dot at its end unchanged. `single-request` changes when a
//! query is sent, not which: AAAA waits for the answer to A.
//!
//! Failures (SERVFAIL, timeouts), repeats and names that are too long are not modelled.

use std::fmt::{self, Write};

use clap::ValueEnum;

use super::args;

//----------- What is known --------------------------------------------------

/// A resolver that programs use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Resolver {
    /// The GNU C library: Debian, Ubuntu, Red Hat.
    Glibc,
    /// The C library of Alpine.
    Musl,
    /// Go's resolver if it does not call the C library (`netdns=go`).
    Go,
}

/// An address family, and the type of its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4: A.
    V4,
    /// IPv6: AAAA.
    V6,
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "A",
            Self::V6 => "AAAA",
        })
    }
}

/// The server's answer to a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// The name does not exist: NXDOMAIN.
    NoName,
    /// The name has no address of this family: NODATA.
    NoData,
    /// The name has an address.
    Address,
}

/// One look-up of a program, `getaddrinfo(name)`.
#[derive(Debug, Clone, Copy)]
pub struct Lookup<'a> {
    /// The resolver.
    pub resolver: Resolver,
    /// The name as the program gives it; a dot at its end counts.
    pub name: &'a str,
    /// `options ndots:N`; 1 if resolv.conf does not say, 5 in a Pod with the DNS policy
    /// `ClusterFirst`.
    pub ndots: usize,
    /// The `search` list.
    pub search: &'a [String],
    /// The families that are asked for: both, unless the program chooses.
    pub families: &'a [Family],
}

//----------- Walk -----------------------------------------------------------

/// The names that are asked for, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Walk {
    /// Each with a query for every family of the look-up; these are sent together.
    pub steps: Vec<Step>,
    /// The families for which the program gets addresses. Empty: the program is told that the name
    /// does not exist.
    pub found: Vec<Family>,
}

/// One name of a walk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The fully qualified name, with a dot at its end.
    pub name: String,
    /// The server's answers, by family.
    pub said: Vec<(Family, Known)>,
}

/// Returns the walk of one look-up, given what the server knows of each name (fully qualified) and
/// family.
///
/// ```
/// use signpost::bench::ndots::{Family, Known, Lookup, Resolver, amplification};
///
/// let search = ["a.svc.cluster.local", "svc.cluster.local", "cluster.local"].map(String::from);
/// let lookup = Lookup {
///     resolver: Resolver::Glibc,
///     name: "example.com",
///     ndots: 5,
///     search: &search,
///     families: &[Family::V4, Family::V6],
/// };
/// let known = |name: &str, _| if name == "example.com." { Known::Address } else { Known::NoName };
/// assert_eq!(amplification(&lookup, known).queries(), 8);
/// ```
#[must_use]
pub fn amplification(lookup: &Lookup<'_>, known: impl Fn(&str, Family) -> Known) -> Walk {
    let mut steps = Vec::new();
    for name in lookup.candidates() {
        let said: Vec<_> = lookup.families.iter().map(|&family| (family, known(&name, family))).collect();
        steps.push(Step { name, said });
        let said = &steps[steps.len() - 1].said;
        if lookup.resolver.is_content(said) {
            let found = said.iter().filter(|(_, known)| *known == Known::Address).map(|(family, _)| *family).collect();
            return Walk { steps, found };
        }
    }
    Walk { steps, found: Vec::new() }
}

impl Lookup<'_> {
    /// Returns all names that would be asked for if none of them existed, in order.
    fn candidates(&self) -> Vec<String> {
        if self.name.ends_with('.') {
            return vec![self.name.to_owned()];
        }
        let as_it_is = format!("{}.", self.name);
        let has_dots = self.name.matches('.').count() >= self.ndots;
        let searched = self.search.iter().map(|domain| format!("{}.{}.", self.name, domain.trim_end_matches('.')));
        match (self.resolver, has_dots) {
            (Resolver::Musl, true) => vec![as_it_is],
            (_, true) => std::iter::once(as_it_is).chain(searched).collect(),
            (_, false) => searched.chain(std::iter::once(as_it_is)).collect(),
        }
    }
}

impl Resolver {
    /// Returns whether the walk ends with these answers.
    fn is_content(self, said: &[(Family, Known)]) -> bool {
        let any = |wanted| said.iter().any(|(_, known)| *known == wanted);
        match self {
            Self::Musl => !any(Known::NoName),
            Self::Glibc | Self::Go => any(Known::Address),
        }
    }
}

impl Walk {
    /// Returns the number of queries that the server receives.
    #[must_use]
    pub fn queries(&self) -> usize {
        self.steps.iter().map(|step| step.said.len()).sum()
    }
}

impl fmt::Display for Walk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.steps.iter().map(|step| step.name.len()).max().unwrap_or_default();
        for (number, step) in self.steps.iter().enumerate() {
            write!(f, "{:4}  {:width$}", number + 1, step.name)?;
            for (family, known) in &step.said {
                let said = match known {
                    Known::NoName => "NXDOMAIN",
                    Known::NoData => "NODATA",
                    Known::Address => "found",
                };
                write!(f, "  {family} {said}")?;
            }
            f.write_char('\n')?;
        }
        Ok(())
    }
}

//----------- For the command line -------------------------------------------

/// Returns the walks of a name, as `signpost-bench ndots` prints them. Resolvers with the same walk
/// share an entry.
#[must_use]
pub fn report(options: &args::Ndots) -> String {
    let full = |name: &str| format!("{}.", name.trim_end_matches('.'));
    let exists: Vec<String> = match options.exists.as_slice() {
        [] => vec![full(&options.name)],
        names => names.iter().map(|name| full(name)).collect(),
    };
    let known = |name: &str, _| if exists.iter().any(|known| known == name) { Known::Address } else { Known::NoName };
    let mut walks: Vec<(Walk, Vec<String>)> = Vec::new();
    for &resolver in &options.resolver {
        let families: &[Family] = &[Family::V4, Family::V6];
        let lookup = Lookup { resolver, name: &options.name, ndots: options.ndots, search: &options.search, families };
        let (walk, name) = (amplification(&lookup, known), format!("{resolver:?}").to_lowercase());
        match walks.iter_mut().find(|(other, _)| *other == walk) {
            Some((_, names)) => names.push(name),
            None => walks.push((walk, vec![name])),
        }
    }
    let mut text = String::new();
    for (walk, resolvers) in walks {
        let end = if walk.found.is_empty() { "not found" } else { "found" };
        // Writing to a `String` cannot fail.
        let _ = write!(text, "{}: {} queries, {end}\n{walk}", resolvers.join(", "), walk.queries());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: &[Family] = &[Family::V4, Family::V6];

    fn names(resolver: Resolver, name: &str, ndots: usize, known: impl Fn(&str, Family) -> Known) -> Vec<String> {
        let search = ["s.c".to_owned(), "c.".to_owned()];
        let lookup = Lookup { resolver, name, ndots, search: &search, families: BOTH };
        amplification(&lookup, known).steps.into_iter().map(|step| step.name).collect()
    }

    #[test]
    fn where_the_walk_ends() {
        let none = |_: &str, _| Known::NoName;
        for resolver in [Resolver::Glibc, Resolver::Musl, Resolver::Go] {
            assert_eq!(names(resolver, "a.b", 2, none), ["a.b.s.c.", "a.b.c.", "a.b."]);
            assert_eq!(names(resolver, "a.b.", 5, none), ["a.b."]);
        }
        assert_eq!(names(Resolver::Glibc, "a.b", 1, none), ["a.b.", "a.b.s.c.", "a.b.c."]);
        assert_eq!(names(Resolver::Musl, "a.b", 1, none), ["a.b."]);
        let empty = |name: &str, _| if name == "a.s.c." { Known::NoData } else { Known::NoName };
        assert_eq!(names(Resolver::Glibc, "a", 5, empty).len(), 3);
        assert_eq!(names(Resolver::Musl, "a", 5, empty), ["a.s.c."]);
        let half = |name: &str, family| match (name, family) {
            ("a.s.c.", Family::V4) => Known::Address,
            _ => Known::NoName,
        };
        assert_eq!(names(Resolver::Go, "a", 5, half), ["a.s.c."]);
        assert_eq!(names(Resolver::Musl, "a", 5, half).len(), 3, "NXDOMAIN for AAAA hides the A");
    }

    #[test]
    fn the_report_puts_equal_walks_together() {
        let options = args::Ndots {
            name: "example.com".into(),
            ndots: 1,
            search: vec!["c".into()],
            resolver: vec![Resolver::Glibc, Resolver::Musl, Resolver::Go],
            exists: vec!["none".into()],
        };
        let wanted = "glibc, go: 4 queries, not found\n   1  example.com.    A NXDOMAIN  AAAA NXDOMAIN\n   \
            2  example.com.c.  A NXDOMAIN  AAAA NXDOMAIN\nmusl: 2 queries, not found\n   \
            1  example.com.  A NXDOMAIN  AAAA NXDOMAIN\n";
        assert_eq!(report(&options), wanted);
    }
}
