//! The bound on what one evaluation may cost.

use super::value::Value;

/// Maximum cost of one evaluation: operations, elements of lists and 16 octets of text each count
/// as one. An evaluation of this cost takes about a millisecond.
pub const MAX_COST: u32 = 50_000;

/// What an evaluation may still cost.
#[derive(Debug)]
pub(super) struct Cost(u32);

impl Cost {
    pub(super) fn new() -> Self {
        Self(MAX_COST)
    }

    /// Charges for one operation and for `elements` elements.
    ///
    /// # Errors
    /// Nothing is left.
    pub(super) fn charge(&mut self, elements: usize) -> Result<(), String> {
        let cost = u32::try_from(elements).unwrap_or(u32::MAX).saturating_add(1);
        self.0 = self.0.checked_sub(cost).ok_or("the expression costs too much")?;
        Ok(())
    }

    /// Charges for a text of this length.
    ///
    /// # Errors
    /// Nothing is left.
    pub(super) fn charge_text(&mut self, octets: usize) -> Result<(), String> {
        self.charge(octets / 16)
    }

    /// Takes away what it costs to look at all of a value. Lists in lists may share their elements,
    /// so a value can be far larger than what was paid to make it.
    ///
    /// # Errors
    /// Nothing is left.
    pub(super) fn charge_whole(&mut self, value: &Value<'_>) -> Result<(), String> {
        match value {
            Value::Text(text) => self.charge_text(text.len()),
            Value::List(list) => list.elements().iter().try_for_each(|element| self.charge_whole(element)),
            _ => self.charge(0),
        }
    }
}
