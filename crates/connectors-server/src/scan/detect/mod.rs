//! Finds personal data in bytes: published base confidences, validators, context words, one threshold.
//!
//! Hand-written rather than a regular-expression engine: every category has an anchor that is found
//! at memory speed (`@`, a run of digits), and what stands around an anchor is checked by code of a few
//! lines. So there is no automaton cache to pay for: a detector needs no memory beyond the chunk and
//! its candidates, and the worst input costs a small constant per byte.
//!
//! Scores are the published ones (`slim.io/scoring.html`): base, plus 0.15 for a word nearby that names
//! the category, minus 0.30 for words that name a sample, kept within 0 and 1, reported from 0.60.
//! Shapes that fit much else besides (an unformatted nine-digit number) start at a lower base of our
//! own, so that they count only with such a word.

mod card;
mod confidence;
mod context;
mod email;
mod fields;
mod iban;
mod number;
mod phone;
mod ssn;
mod words;

pub(crate) use confidence::Category;
use confidence::{Confidence, THRESHOLD};
pub(crate) use context::FieldContext;
use context::Surroundings;

/// A value that was found: where, what, how sure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Match<'a> {
    /// First byte in the chunk.
    pub(crate) start: usize,
    /// First byte after it.
    pub(crate) end: usize,
    pub(crate) category: Category,
    /// Percent.
    pub(crate) confidence: u8,
    /// CSV column or JSON key, where known.
    pub(crate) field: Option<&'a [u8]>,
}

/// Something that has the shape of a value, before its surroundings were looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) category: Category,
    pub(crate) base: Confidence,
}

/// Finds everything in a chunk that reaches the threshold, in order of position.
///
/// `accept` says for which starts a match counts; a chunk's neighbours see the others.
pub(crate) fn scan<'a>(
    text: &'a [u8],
    fields: &'a FieldContext,
    accept: std::ops::Range<usize>,
    mut found: impl FnMut(Match<'a>),
) {
    let mut places = fields.places(text);
    let mut emails = email::find(text).peekable();
    let mut weigh = |alternatives: &[Candidate]| {
        // By the first of them, so that both chunks at a border decide the same.
        let Some(first) = alternatives.iter().min_by_key(|c| c.start) else { return };
        if !accept.contains(&first.start) {
            return;
        }
        let around = Surroundings::of(text, first.start, first.end, &mut places);
        // Several readings of one value: the surest wins, and of equals the most specific, which comes first.
        let mut best: Option<(Candidate, Confidence)> = None;
        for &candidate in alternatives {
            let confidence = around.weigh(candidate.category, candidate.base);
            if confidence >= THRESHOLD && best.is_none_or(|(_, sure)| confidence > sure) {
                best = Some((candidate, confidence));
            }
        }
        if let Some((Candidate { start, end, category, .. }, confidence)) = best {
            found(Match { start, end, category, confidence: confidence.percent(), field: around.field });
        }
    };
    number::find(text, |alternatives| {
        let start = alternatives.iter().map(|c| c.start).min().unwrap_or_default();
        let end = alternatives.iter().map(|c| c.end).max().unwrap_or_default();
        // One value is one finding: digits inside an address belong to the address.
        while let Some(email) = emails.next_if(|e| e.end <= start) {
            weigh(&[email]);
        }
        if emails.peek().is_none_or(|email| email.start >= end) {
            weigh(alternatives);
        }
    });
    emails.for_each(|email| weigh(&[email]));
}

#[cfg(test)]
mod tests;
