//! The new name of a rule with `metadata`: text, groups of the expression, and published values.

use regex::Regex;

use crate::chain::Query;
use crate::chain::metadata::is_label;
use crate::chain::site::Site;

/// The parts of a new name, in their order.
#[derive(Debug)]
pub(super) struct Replacement(Vec<Part>);

#[derive(Debug)]
enum Part {
    /// Lower case.
    Text(String),
    Group(usize),
    /// What a plugin publishes under a label.
    Label(String),
}

impl Replacement {
    /// Reads a replacement for an expression with this many groups.
    ///
    /// # Errors
    /// CoreDNS's message.
    pub(super) fn read(text: &str, groups: usize) -> Result<Self, String> {
        let (mut parts, mut rest) = (Vec::new(), text);
        while !rest.is_empty() {
            let (before, behind) = rest.split_once('{').map_or((rest, None), |(before, behind)| (before, Some(behind)));
            if before.contains('}') {
                return Err("unmatched closing brace in metadata name replacement".to_owned());
            }
            if !before.is_empty() {
                parts.push(Part::Text(before.to_lowercase()));
            }
            let Some(behind) = behind else { break };
            let Some((label, after)) = behind.split_once('}') else {
                return Err("unclosed placeholder in metadata name replacement".to_owned());
            };
            parts.push(match label.parse::<i64>() {
                Ok(group) => {
                    let known = usize::try_from(group).ok().filter(|group| *group <= groups);
                    let missing = || format!("capture group {label} does not exist in name matching pattern");
                    Part::Group(known.ok_or_else(missing)?)
                }
                Err(_) if is_label(label) && !label.contains('{') => Part::Label(label.to_owned()),
                Err(_) => return Err(format!("invalid metadata label \"{label}\" in name replacement")),
            });
            rest = after;
        }
        Ok(Self(parts))
    }

    /// Returns the new name for one that is written so; `None` if the expression does not match or
    /// a value is missing.
    pub(super) fn fill(&self, regex: &Regex, name: &str, query: &Query<'_>, site: &Site) -> Option<String> {
        let groups = regex.captures(name)?;
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Text(literal) => text.push_str(literal),
                Part::Group(group) => text.push_str(groups.get(*group).map_or("", |found| found.as_str())),
                Part::Label(label) => {
                    let value = site.metadata(label, query).filter(|value| !value.is_empty())?;
                    text.push_str(&value.to_lowercase());
                }
            }
        }
        Some(text)
    }
}
