//! Rules, how they change a question one after another, and what each of them does to the reply.

use regex::Regex;

use super::pattern::{Pattern, Text, expand};
use crate::wire::name::{Name, labels};
use crate::wire::question::Question;
use crate::wire::rename::Renaming;

/// A rule of the Corefile.
pub(super) struct Rule {
    /// Whether the rules behind it are looked at after it has matched: `continue`.
    pub(super) goes_on: bool,
    /// What it does.
    pub(super) action: Action,
}

/// What a rule does.
pub(super) enum Action {
    /// Asks for another name.
    Name { pattern: Pattern, to: String, answers: Answers },
    /// Asks for another type.
    Type(u16, u16),
    /// Asks in another class.
    Class(u16, u16),
    /// Keeps TTLs between two limits, in seconds.
    Ttl(Pattern, u32, u32),
    /// Replies with another RCODE in place of one.
    Rcode(Pattern, u16, u16),
}

/// What a `name` rule does to the names of an answer.
#[derive(Default)]
pub(super) struct Answers {
    /// Whether they are mapped back, as the question was mapped.
    pub(super) auto: bool,
    /// Expressions for owners and for targets, with what takes their place.
    pub(super) explicit: Vec<(Part, Regex, String)>,
}

/// Which of the names of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// The one that it belongs to.
    Owner,
    /// The one that it leads to.
    Target,
}

/// A name that no question can have.
pub(super) struct Invalid(pub(super) String);

/// What is to be done with the reply.
#[expect(clippy::large_enum_variant, reason = "a few of them, on the stack, for one answer")]
pub(super) enum Change<'r> {
    /// A name, and names below it, become another one.
    Back { from: Name, to: Name },
    /// Names whose text ends so end another way.
    Suffix { from: &'r str, to: &'r str },
    /// Names that match become what the text says.
    Explicit(Part, &'r Regex, &'r str),
    /// TTLs are kept between two limits.
    Ttl(u32, u32),
    /// One RCODE in place of another.
    Rcode(u16, u16),
}

/// Leads a question through the rules. Nothing if none of them matched.
///
/// `note` gets what is to be done with the reply, in the order of the rules. The same question always takes the same way.
pub(super) fn run<'r>(
    rules: &'r [Rule],
    question: Question,
    mut note: impl FnMut(Change<'r>),
) -> Result<Option<Question>, Invalid> {
    let (mut now, mut any) = (question, false);
    for rule in rules {
        if rule.action.apply(&mut now, &mut note)? {
            any = true;
            if !rule.goes_on {
                break;
            }
        }
    }
    Ok(any.then_some(now))
}

impl Action {
    /// Changes the question, if the rule is about it.
    fn apply<'r>(&'r self, now: &mut Question, note: &mut impl FnMut(Change<'r>)) -> Result<bool, Invalid> {
        match self {
            Self::Name { pattern, to, answers } => {
                let Some(text) = pattern.replace(&now.name, to) else { return Ok(false) };
                let name = Name::from_text(&text).map_err(|_| Invalid(text))?.lowered();
                let before = std::mem::replace(&mut now.name, name);
                match pattern {
                    _ if !answers.auto => {}
                    Pattern::Suffix(suffix) => note(Change::Suffix { from: to, to: suffix }),
                    _ => note(Change::Back { from: name, to: before }),
                }
                for (part, regex, to) in &answers.explicit {
                    note(Change::Explicit(*part, regex, to));
                }
            }
            Self::Type(from, to) if *from == now.qtype => now.qtype = *to,
            Self::Class(from, to) if *from == now.qclass => now.qclass = *to,
            Self::Ttl(pattern, least, most) if pattern.matches(&now.name) => note(Change::Ttl(*least, *most)),
            Self::Rcode(pattern, old, new) if pattern.matches(&now.name) => note(Change::Rcode(*old, *new)),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

//----------- The way up -----------------------------------------------------

/// All that is to be done with a reply: the last rule first.
pub(super) struct Changes<'r>(pub(super) Vec<Change<'r>>);

impl Changes<'_> {
    /// The RCODE in place of this one.
    pub(super) fn rcode(&self, rcode: u16) -> u16 {
        self.0.iter().rev().fold(rcode, |now, change| match change {
            Change::Rcode(old, new) if *old == now => *new,
            _ => now,
        })
    }

    /// Whether records have to be looked at.
    pub(super) fn touch_records(&self) -> bool {
        self.0.iter().any(|change| !matches!(change, Change::Rcode(..)))
    }

    fn name(&self, part: Part, name: Name) -> Name {
        self.0.iter().rev().fold(name, |name, change| change.name(part, &name).unwrap_or(name))
    }
}

impl Change<'_> {
    /// The name in place of this one; nothing if it stays, or if what comes out is no name.
    fn name(&self, wanted: Part, name: &Name) -> Option<Name> {
        match self {
            Self::Back { from, to } => {
                let front = name.lowered().prefix_len(from)?;
                to.below(labels(&name.wire()[..front]))
            }
            Self::Suffix { from, to } => {
                let text = Text::of(&name.lowered());
                let rest = text.as_str().strip_suffix(from)?;
                Name::from_text(&format!("{rest}{to}")).ok()
            }
            Self::Explicit(part, regex, to) if *part == wanted => {
                Name::from_text(&expand(regex, Text::of(name).as_str(), to)?).ok()
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
