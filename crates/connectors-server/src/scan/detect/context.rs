//! What stands around a value, and how it moves the value's score.

use super::confidence::{BOOST, Category, Confidence, OTHER_FIELD_PENALTY, SAMPLE_PENALTY};
pub(crate) use super::fields::FieldContext;
use super::fields::Places;
use super::words::Meaning;

/// The field that a value stands in, and the words around it.
pub(super) struct Surroundings<'a> {
    pub(super) field: Option<&'a [u8]>,
    named: Meaning,
    around: Meaning,
}

impl<'a> Surroundings<'a> {
    /// Looks around the value at `start..end`. The value itself says nothing.
    pub(super) fn of(text: &'a [u8], start: usize, end: usize, places: &mut Places<'a>) -> Self {
        let place = places.place(start, end);
        let before = Meaning::of(&text[place.from..start]);
        let after = Meaning::of(&text[end..place.to]);
        Self { field: place.name, named: place.meaning, around: before.and(after) }
    }

    /// The final score.
    pub(super) fn weigh(&self, category: Category, base: Confidence) -> Confidence {
        let boost = if self.named.names(category) || self.around.names(category) { BOOST } else { 0 };
        let sample = if self.named.sample || self.around.sample { SAMPLE_PENALTY } else { 0 };
        // An address or an IBAN cannot be an order number by accident; the others can.
        let accidental = !matches!(category, Category::Email | Category::Iban);
        let other =
            if accidental && self.named.other && !self.named.names_any() { OTHER_FIELD_PENALTY } else { 0 };
        base.adjusted(boost, sample + other)
    }
}
