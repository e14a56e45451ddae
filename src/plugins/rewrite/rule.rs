//! Rules, how they change a question one after another, and how each of them changes the reply.

use regex::Regex;

use super::cname::Cname;
use super::edns::{Edns, Options, Revert};
use super::pattern::{Pattern, expand};
use super::replacement::Replacement;
use crate::chain::Query;
use crate::chain::site::Site;
use crate::wire::name::{Name, labels};
use crate::wire::question::Question;
use crate::wire::rename::Renaming;
use crate::wire::text::NameText;

/// A rule of the Corefile.
pub(super) struct Rule {
    /// Whether later rules are still applied after this one has matched: `continue`.
    pub(super) goes_on: bool,
    /// What the rule does.
    pub(super) action: Action,
}

/// What a rule does.
pub(super) enum Action {
    /// Asks for another name.
    Name { pattern: Pattern, to: String, answers: Answers },
    /// Asks for another name that has published values in it.
    NameWith { regex: Regex, to: Replacement, answers: Answers },
    /// Asks for another type.
    Type(u16, u16),
    /// Asks in another class.
    Class(u16, u16),
    /// Keeps TTLs between two limits, in seconds.
    Ttl(Pattern, u32, u32),
    /// Replies with another RCODE in place of one.
    Rcode(Pattern, u16, u16),
    /// Asks with other EDNS options.
    Edns(Edns),
    /// Replies with another target of an alias.
    Cname(Cname),
}

/// How a `name` rule changes the names of an answer.
#[derive(Default)]
pub(super) struct Answers {
    /// Whether names are mapped back, reversing the change of the question.
    pub(super) auto: bool,
    /// Expressions for owners and for targets, with their replacements.
    pub(super) explicit: Vec<(Part, Regex, String)>,
}

/// Which name of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// The name that the record belongs to.
    Owner,
    /// The name that the record points to.
    Target,
}

/// A name that is invalid in a question.
pub(super) struct Invalid(pub(super) String);

/// A change to make to the reply.
#[expect(clippy::large_enum_variant, reason = "a few of them, on the stack, for one answer")]
pub(super) enum Change<'r> {
    /// A name, and names below it, become another one.
    Back { from: Name, to: Name },
    /// Names whose text ends in `from` end in `to`.
    Suffix { from: &'r str, to: &'r str },
    /// Matching names become the text.
    Explicit(Part, &'r Regex, &'r str),
    /// TTLs are kept between two limits.
    Ttl(u32, u32),
    /// One RCODE in place of another.
    Rcode(u16, u16),
    /// An option as it was.
    Option(Revert),
    /// Aliases lead elsewhere.
    Cname(&'r Cname),
}

/// What is asked: the question, and the EDNS options if rules may change them.
pub(super) struct Asked {
    pub(super) question: Question,
    /// `None` without an OPT, and if no rule looks at it.
    pub(super) options: Option<Options>,
    /// Codes of the options that rules have set.
    pub(super) set: Vec<u16>,
}

/// Applies the rules to a question. Returns whether any of them matched.
///
/// `note` gets the reply's changes in rule order. The same query always gets the same result.
pub(super) fn run<'r>(
    rules: &'r [Rule],
    now: &mut Asked,
    query: &Query<'_>,
    site: &Site,
    mut note: impl FnMut(Change<'r>),
) -> Result<bool, Invalid> {
    let mut any = false;
    for rule in rules {
        if rule.action.apply(now, query, site, &mut note)? {
            any = true;
            if !rule.goes_on {
                break;
            }
        }
    }
    Ok(any)
}

impl Action {
    /// Changes the question if the rule applies to it.
    fn apply<'r>(
        &'r self,
        asked: &mut Asked,
        query: &Query<'_>,
        site: &Site,
        note: &mut impl FnMut(Change<'r>),
    ) -> Result<bool, Invalid> {
        let now = &mut asked.question;
        match self {
            Self::Name { pattern, to, answers } => {
                let Some(text) = pattern.replace(&now.name, to) else { return Ok(false) };
                let back = match pattern {
                    Pattern::Suffix(suffix) => Some(Change::Suffix { from: to, to: suffix }),
                    _ => None,
                };
                rename(now, text, answers, back, note)?;
            }
            Self::NameWith { regex, to, answers } => {
                let filled = to.fill(regex, NameText::of(&now.name).as_str(), query, site);
                let Some(text) = filled else { return Ok(false) };
                rename(now, text, answers, None, note)?;
            }
            Self::Type(from, to) if *from == now.qtype => now.qtype = *to,
            Self::Class(from, to) if *from == now.qclass => now.qclass = *to,
            Self::Ttl(pattern, least, most) if pattern.matches(&now.name) => note(Change::Ttl(*least, *most)),
            Self::Rcode(pattern, old, new) if pattern.matches(&now.name) => note(Change::Rcode(*old, *new)),
            Self::Edns(edns) => {
                let (applied, revert) = edns.apply(&mut asked.options, &asked.question, query, site);
                revert.into_iter().for_each(|revert| note(Change::Option(revert)));
                asked.set.extend(edns.sets().filter(|_| applied));
                return Ok(applied);
            }
            Self::Cname(cname) => note(Change::Cname(cname)),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// Changes the name of a question, and notes how that is taken back: `back`, or name for name.
fn rename<'r>(
    now: &mut Question,
    text: String,
    answers: &'r Answers,
    back: Option<Change<'r>>,
    note: &mut impl FnMut(Change<'r>),
) -> Result<(), Invalid> {
    let name = Name::from_text(&text).map_err(|_| Invalid(text))?.lowered();
    let before = std::mem::replace(&mut now.name, name);
    if answers.auto {
        note(back.unwrap_or(Change::Back { from: name, to: before }));
    }
    for (part, regex, to) in &answers.explicit {
        note(Change::Explicit(*part, regex, to));
    }
    Ok(())
}

//----------- The way up -----------------------------------------------------

/// Applies all changes to a reply, the last rule's first.
pub(super) struct Changes<'r>(pub(super) Vec<Change<'r>>);

impl Changes<'_> {
    /// Returns the RCODE that replaces this one.
    pub(super) fn rcode(&self, rcode: u16) -> u16 {
        self.0.iter().rev().fold(rcode, |now, change| match change {
            Change::Rcode(old, new) if *old == now => *new,
            _ => now,
        })
    }

    /// Whether records must be examined.
    pub(super) fn touch_records(&self) -> bool {
        let elsewhere =
            |change: &Change<'_>| matches!(change, Change::Rcode(..) | Change::Option(_) | Change::Cname(_));
        !self.0.iter().all(elsewhere)
    }

    /// Returns how the changes of EDNS options are taken back.
    pub(super) fn reverts(&self) -> Vec<&Revert> {
        let reverts = self.0.iter().filter_map(|change| match change {
            Change::Option(revert) => Some(revert),
            _ => None,
        });
        reverts.collect()
    }

    fn name(&self, part: Part, name: Name) -> Name {
        self.0.iter().rev().fold(name, |name, change| change.name(part, &name).unwrap_or(name))
    }
}

impl Change<'_> {
    /// Returns the new name; `None` if the name stays, or if the result is not a valid name.
    fn name(&self, wanted: Part, name: &Name) -> Option<Name> {
        match self {
            Self::Back { from, to } => {
                let front = name.lowered().prefix_len(from)?;
                to.below(labels(&name.wire()[..front]))
            }
            Self::Suffix { from, to } => {
                let text = NameText::of(&name.lowered());
                let rest = text.as_str().strip_suffix(from)?;
                Name::from_text(&format!("{rest}{to}")).ok()
            }
            Self::Explicit(part, regex, to) if *part == wanted => {
                Name::from_text(&expand(regex, NameText::of(name).as_str(), to)?).ok()
            }
            _ => None,
        }
    }
}

impl Renaming for Changes<'_> {
    fn owner(&self, name: Name) -> Name {
        self.name(Part::Owner, name)
    }

    fn target(&self, name: Name) -> Name {
        self.name(Part::Target, name)
    }

    fn ttl(&self, ttl: u32) -> u32 {
        self.0.iter().rev().fold(ttl, |now, change| match change {
            Change::Ttl(least, most) => now.clamp(*least, *most),
            _ => now,
        })
    }
}
