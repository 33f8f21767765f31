//! Finds runs of digits at memory speed and tries what they could be: IBAN, card, SSN, phone.

use super::confidence::Category;
use super::{Candidate, card, iban, phone, ssn};

/// Bytes whose digits are counted together. Counting compiles to vector instructions.
const BLOCK: usize = 32;

/// Fewest digits that a value of any category has. A place with fewer in two blocks holds none.
const FEWEST_DIGITS: u8 = 7;

/// Most digits that are read at one place: a card has at most 19.
const MOST_DIGITS: usize = 19;

/// Most groups that are read at one place.
const MOST_GROUPS: usize = 8;

/// Digits in groups, all separated by the same character or not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Digits {
    digits: [u8; MOST_DIGITS],
    len: usize,
    groups: [u8; MOST_GROUPS],
    group_count: usize,
    /// First byte after each group.
    ends: [usize; MOST_GROUPS],
}

impl Digits {
    /// Reads as many groups as fit, from a digit on. `None` when the first group alone is too long.
    pub(super) fn read(text: &[u8], start: usize, separators: &[u8]) -> Option<Self> {
        let mut read = Self {
            digits: [0; MOST_DIGITS],
            len: 0,
            groups: [0; MOST_GROUPS],
            group_count: 0,
            ends: [0; MOST_GROUPS],
        };
        let (mut at, mut separator) = (start, None);
        while read.group_count < MOST_GROUPS {
            let begin = read.len;
            let group_start = at;
            while let Some(digit) = text.get(at).filter(|b| b.is_ascii_digit()) {
                if at - group_start + begin >= MOST_DIGITS {
                    // One digit too many: this group is not part of anything that ends before it.
                    return (read.group_count > 0).then_some(Self { len: begin, ..read });
                }
                read.digits[at - group_start + begin] = digit - b'0';
                at += 1;
            }
            read.len = begin + at - group_start;
            read.groups[read.group_count] = u8::try_from(at - group_start).ok()?;
            read.ends[read.group_count] = at;
            read.group_count += 1;
            let next =
                text.get(at).copied().filter(|b| separators.contains(b) && separator.is_none_or(|s| s == *b));
            match (next, text.get(at + 1)) {
                (Some(found), Some(digit)) if digit.is_ascii_digit() => {
                    separator = Some(found);
                    at += 1;
                }
                _ => break,
            }
        }
        Some(read)
    }

    /// The digits as numbers.
    pub(super) fn as_slice(&self) -> &[u8] {
        &self.digits[..self.len]
    }

    /// Sizes of the groups.
    pub(super) fn groups(&self) -> &[u8] {
        &self.groups[..self.group_count]
    }

    /// First byte after the last group.
    pub(super) fn end(&self) -> usize {
        self.ends[self.group_count - 1]
    }

    /// The same without its last group.
    fn shorter(mut self) -> Option<Self> {
        if self.group_count < 2 {
            return None;
        }
        self.group_count -= 1;
        self.len -= usize::from(self.groups[self.group_count]);
        Some(self)
    }
}

/// Calls back with what could stand at each place, the most specific first. All of a call begin at one place.
pub(super) fn find(text: &[u8], mut found: impl FnMut(&[Candidate])) {
    let mut resume = 0;
    let mut blocks = text.chunks(BLOCK).map(digits_in).peekable();
    let mut base = 0;
    while let Some(here) = blocks.next() {
        let near = here + blocks.peek().copied().unwrap_or(0);
        let end = (base + BLOCK).min(text.len());
        if here > 0 && near >= FEWEST_DIGITS && resume < end {
            let mut at = resume.max(base);
            while at < end {
                if !text[at].is_ascii_digit() {
                    at += 1;
                } else if at > 0 && text[at - 1].is_ascii_digit() {
                    // In the middle of a run that began in a block that was passed over.
                    at += 1;
                } else {
                    at = try_at(text, at, &mut found);
                }
            }
            resume = at;
        }
        base += BLOCK;
    }
}

fn digits_in(block: &[u8]) -> u8 {
    block.iter().map(|b| u8::from(b.is_ascii_digit())).sum()
}

/// Tries everything at the start of a run of digits, and answers where to go on.
fn try_at(text: &[u8], start: usize, found: &mut impl FnMut(&[Candidate])) -> usize {
    let Some(run) = opens(text, start) else {
        if let Some(candidate) = iban::at(text, start) {
            found(&[candidate]);
            return candidate.end;
        }
        // Nothing else begins in the middle of a word, so a hash costs one look and not one for each of its digits.
        return start + text[start..].iter().take_while(|b| b.is_ascii_alphanumeric()).count();
    };
    if !run || !has_digits(text, start) {
        return run_end(text, start);
    }
    let length = run_end(text, start) - start;
    if length == 4 && is_date(&text[start..]) {
        return start + DATE.len();
    }
    let plus = start > 0 && text[start - 1] == b'+';
    let specific = match length {
        _ if plus => None,
        4 | 12..=19 => grouped(text, start, b" -", Category::CreditCard, card::base),
        3 | 9 => grouped(text, start, b" -.", Category::Ssn, ssn::base),
        _ => None,
    };
    let phone = phone::at(text, start);
    match (specific, phone) {
        (None, None) => return start + length,
        (Some(one), None) | (None, Some(one)) => found(&[one]),
        (Some(specific), Some(phone)) => found(&[specific, phone]),
    }
    let end = |candidate: Option<Candidate>| candidate.map_or(0, |c| c.end);
    end(specific).max(end(phone)).max(start + length)
}

fn run_end(text: &[u8], start: usize) -> usize {
    start + text[start..].iter().take_while(|b| b.is_ascii_digit()).count()
}

/// The shape of a date in logs, which would otherwise be looked at as the beginning of a telephone number.
const DATE: &[u8; 10] = b"dddd-dd-dd";

fn is_date(text: &[u8]) -> bool {
    let shape =
        |(byte, shape): (&u8, &u8)| if *shape == b'd' { byte.is_ascii_digit() } else { byte == shape };
    let follows = text.get(DATE.len());
    text.len() >= DATE.len()
        && text.iter().zip(DATE).all(shape)
        && follows.is_none_or(|b| !b.is_ascii_digit() && *b != b'-')
}

/// Whether enough digits stand together here, with nothing but separators between them.
fn has_digits(text: &[u8], start: usize) -> bool {
    let mut digits = 0;
    for &byte in &text[start..text.len().min(start + BLOCK)] {
        match byte {
            b'0'..=b'9' => digits += 1,
            b' ' | b'-' | b'.' | b'(' | b')' | b'/' => {}
            _ => break,
        }
        if digits == FEWEST_DIGITS {
            return true;
        }
    }
    false
}

/// The longest reading of the groups from `start` on that has the category's shape.
fn grouped(
    text: &[u8],
    start: usize,
    separators: &[u8],
    category: Category,
    base: impl Fn(&Digits) -> Option<super::Confidence>,
) -> Option<Candidate> {
    let mut digits = Digits::read(text, start, separators)?;
    loop {
        let end = digits.end();
        // After a dash or a dot only the whole reading counts: `536-22-4417-1` is another number.
        let whole = text.get(end) != Some(&b'-') || !text.get(end + 1).is_some_and(u8::is_ascii_alphanumeric);
        if whole
            && closes(text, end)
            && let Some(base) = base(&digits)
        {
            return Some(Candidate { start, end, category, base });
        }
        digits = digits.shorter()?;
    }
}

/// Whether a value may begin at this digit: not in a decimal or a token such as a UUID. `None` in the middle of a word.
fn opens(text: &[u8], start: usize) -> Option<bool> {
    let Some(before) = start.checked_sub(1) else { return Some(true) };
    let further = before.checked_sub(1).map(|i| text[i]);
    match text[before] {
        // An escape in JSON: `\n4111…`.
        b'n' | b't' | b'r' if further == Some(b'\\') => Some(true),
        b if b.is_ascii_alphanumeric() || b == b'_' => None,
        b'.' => Some(!further.is_some_and(|b| b.is_ascii_digit())),
        b'-' => {
            let token = text[..before].iter().rev().take(16).take_while(|b| b.is_ascii_alphanumeric());
            Some(!token.into_iter().any(u8::is_ascii_digit))
        }
        _ => Some(true),
    }
}

/// Whether a value may end before this byte.
pub(super) fn closes(text: &[u8], end: usize) -> bool {
    match (text.get(end), text.get(end + 1)) {
        (None, _) => true,
        (Some(b), _) if b.is_ascii_alphanumeric() || *b == b'_' || *b == b'@' => false,
        (Some(b'.'), Some(next)) => !next.is_ascii_digit(),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(text: &str) -> Vec<(&str, Category)> {
        let mut out = Vec::new();
        find(text.as_bytes(), |list| {
            out.extend(
                list.iter()
                    .filter(|c| c.base > super::super::Confidence::WEAK)
                    .map(|c| (&text[c.start..c.end], c.category)),
            );
        });
        out
    }

    #[test]
    fn values_are_found_at_every_offset_of_a_block() {
        for pad in 0..100 {
            let text = format!("{}4111 1111 1111 1111 {}", " ".repeat(pad), "x".repeat(pad));
            assert_eq!(places(&text), [("4111 1111 1111 1111", Category::CreditCard)], "{pad}");
        }
    }

    #[test]
    fn a_value_next_to_another_number_is_still_found() {
        assert_eq!(places("4111 1111 1111 1111 123"), [("4111 1111 1111 1111", Category::CreditCard)]);
        assert_eq!(places("4111111111111111 2025"), [("4111111111111111", Category::CreditCard)]);
        assert_eq!(places("536-22-4417,4111111111111111").len(), 2);
        assert_eq!(places("2024-01-01 536-22-4417"), [("536-22-4417", Category::Ssn)]);
        assert_eq!(places(r#""a\n536-22-4417""#), [("536-22-4417", Category::Ssn)]);
    }

    #[test]
    fn parts_of_longer_tokens_are_no_values() {
        for text in [
            "536-22-4417-1",
            "1-536-22-4417",
            "0.4111111111111111",
            "4111111111111111.5",
            "x4111111111111111",
            "4111111111111111x",
            "id_4111111111111111",
            "550e8400-e29b-41d4-a716-411111111111",
            "41111111111111111111111111",
            "a1-536-22-4417",
            "10.0.12.255",
            "2024-06-10T12:34:56.789Z",
        ] {
            assert!(places(text).is_empty(), "{text}: {:?}", places(text));
        }
    }
}
