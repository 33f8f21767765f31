//! Telephone numbers: North American and international forms by themselves, other groupings with a word nearby.

use super::confidence::Confidence;
use super::number::closes;
use super::{Candidate, Category};

/// Most digits of a number in E.164, two more for the `00` before it.
const MOST_DIGITS: usize = 17;

/// Most groups that people write.
const MOST_GROUPS: usize = 7;

/// Digits in groups, with whatever people put between them.
#[derive(Default)]
struct Written {
    digits: [u8; MOST_DIGITS],
    len: usize,
    groups: [usize; MOST_GROUPS],
    ends: [usize; MOST_GROUPS],
    count: usize,
    /// Separator after each group, the decisive character of it.
    separators: [u8; MOST_GROUPS],
    parenthesis: bool,
}

impl Written {
    fn groups(&self) -> &[usize] {
        &self.groups[..self.count]
    }

    fn drop_last(&mut self) {
        self.count -= 1;
        self.len -= self.groups[self.count];
    }

    /// The one separator between all groups.
    fn separator(&self) -> Option<u8> {
        let between = &self.separators[..self.count.saturating_sub(1)];
        between.first().copied().filter(|first| between.iter().all(|s| s == first))
    }
}

/// The telephone number that begins with this digit, its `+` or `(` included.
pub(super) fn at(text: &[u8], digit: usize) -> Option<Candidate> {
    let byte = |back: usize| digit.checked_sub(back).map(|i| text[i]);
    let (start, plus, open) = match (byte(1), byte(2)) {
        (Some(b'+'), Some(b'(')) => (digit - 2, true, true),
        (Some(b'('), Some(b'+')) => (digit - 2, true, true),
        (Some(b'+'), _) => (digit - 1, true, false),
        (Some(b'('), _) => (digit - 1, false, true),
        _ => (digit, false, false),
    };
    // `a+441632960123` is a sum, `f(1234567)` a call.
    if start < digit && start > 0 && (text[start - 1].is_ascii_alphanumeric() || text[start - 1] == b'_') {
        return None;
    }
    let mut written = Written { parenthesis: open, ..Written::default() };
    read(&mut written, text, digit, open);
    if written.count == 0 {
        return None;
    }
    loop {
        let end = with_extension(text, written.ends[written.count - 1]);
        let dashed = text.get(end) == Some(&b'-') && text.get(end + 1).is_some_and(u8::is_ascii_digit);
        if closes(text, end)
            && !dashed
            && let Some(base) = base(&written, plus)
        {
            return Some(Candidate { start, end, category: Category::Phone, base });
        }
        if written.count == 1 {
            return None;
        }
        written.drop_last();
    }
}

/// Fills it in place: it is too large to be handed around for every number of a log.
fn read(written: &mut Written, text: &[u8], start: usize, mut open: bool) {
    let mut at = start;
    loop {
        let begin = at;
        while text.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        let size = at - begin;
        if written.len + size > MOST_DIGITS {
            return;
        }
        for (slot, digit) in written.digits[written.len..].iter_mut().zip(&text[begin..at]) {
            *slot = digit - b'0';
        }
        written.len += size;
        written.groups[written.count] = size;
        written.ends[written.count] = at;
        written.count += 1;
        // The digits in parentheses close before anything else comes.
        if open && text.get(at) == Some(&b')') {
            written.ends[written.count - 1] = at + 1;
        }
        let (separator, next, opened) = separator(text, at, open);
        if written.count == MOST_GROUPS || separator == 0 {
            return;
        }
        written.separators[written.count - 1] = separator;
        written.parenthesis |= opened;
        open = opened;
        at = next;
    }
}

/// What stands between two groups: its decisive character (0 for none), where the next group begins, and whether a
/// parenthesis was opened before it.
fn separator(text: &[u8], at: usize, open: bool) -> (u8, usize, bool) {
    let (mut next, mut decisive, mut opened, mut closed) = (at, 0, false, !open);
    for _ in 0..3 {
        match text.get(next) {
            Some(b')') if !closed => closed = true,
            Some(b'(') if !opened && closed => opened = true,
            Some(&b @ (b'-' | b'.' | b'/')) if matches!(decisive, 0 | b' ') => decisive = b,
            Some(b' ') if !opened && matches!(decisive, 0 | b'-') => {
                decisive = if decisive == 0 { b' ' } else { decisive }
            }
            _ => break,
        }
        next += 1;
    }
    let digit = text.get(next).is_some_and(u8::is_ascii_digit);
    if next == at || !digit || !closed {
        return (0, at, false);
    }
    (if decisive == 0 { b')' } else { decisive }, next, opened)
}

/// The end with an extension: `x123`, `ext. 123`.
fn with_extension(text: &[u8], end: usize) -> usize {
    let mut at = end;
    if text.get(at) == Some(&b' ') {
        at += 1;
    }
    let word: &[&[u8]] = &[b"ext. ", b"ext.", b"ext ", b"ext", b"x"];
    let Some(word) =
        word.iter().find(|w| text.get(at..at + w.len()).is_some_and(|t| t.eq_ignore_ascii_case(w)))
    else {
        return end;
    };
    at += word.len();
    let digits = text[at..].iter().take(7).take_while(|b| b.is_ascii_digit()).count();
    if (1..=6).contains(&digits) { at + digits } else { end }
}

fn base(written: &Written, plus: bool) -> Option<Confidence> {
    let digits = &written.digits[..written.len];
    if digits.iter().all(|d| *d == digits[0]) {
        return None;
    }
    let strong = Category::Phone.base();
    if plus {
        return ((8..=15).contains(&digits.len()) && country_code(digits)).then_some(strong);
    }
    match written.groups() {
        [3, 3, 4] if north_american(digits) => Some(strong),
        [1, 3, 3, 4] if digits[0] == 1 && north_american(&digits[1..]) => Some(strong),
        [3, 3, 3, 4] if digits[..3] == [0, 0, 1] && north_american(&digits[3..]) => Some(strong),
        // `00` and a country code, in groups.
        [2..=5, _, ..] if digits.starts_with(&[0, 0]) && (10..=17).contains(&digits.len()) => {
            country_code(&digits[2..]).then_some(strong)
        }
        // An area code in parentheses.
        [_, _, ..] if written.parenthesis && (8..=11).contains(&digits.len()) => Some(strong),
        groups => other(groups, written).then_some(Confidence::WEAK),
    }
}

/// Shapes that need a word that says what they are.
fn other(groups: &[usize], written: &Written) -> bool {
    let digits = &written.digits[..written.len];
    match groups {
        [_] => (8..=15).contains(&digits.len()),
        // Card-like groups of four, and dates.
        [4, 4, 4, ..] | [4, 2, 2] | [2, 2, 4] | [1 | 2, 1 | 2, 4] => false,
        _ if written.parenthesis => (7..=15).contains(&digits.len()),
        [first, rest @ ..] => {
            (7..=12).contains(&digits.len())
                && (1..=5).contains(first)
                && rest.iter().all(|g| (2..=7).contains(g))
                && written.separator().is_some_and(|s| s != b'/' && !(s == b'.' && is_address(groups)))
        }
        [] => false,
    }
}

/// `10.0.12.255`.
fn is_address(groups: &[usize]) -> bool {
    groups.len() == 4 && groups.iter().all(|g| *g <= 3)
}

/// Area code and exchange of the North American plan: neither begins with 0 or 1, neither is a service code (N11).
fn north_american(digits: &[u8]) -> bool {
    digits.len() == 10 && [0, 3].into_iter().all(|i| digits[i] >= 2 && digits[i + 1..i + 3] != [1, 1])
}

/// Whether a country code begins these digits: all do, but for 0 and the unassigned 28x, 83x and 89x.
fn country_code(digits: &[u8]) -> bool {
    !matches!(digits, [0, ..] | [2, 8, ..] | [8, 3 | 9, ..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Option<(&str, u8)> {
        let digit = text.bytes().position(|b| b.is_ascii_digit())?;
        at(text.as_bytes(), digit).map(|c| (&text[c.start..c.end], c.base.percent()))
    }

    #[test]
    fn north_american_and_international_forms_count_by_themselves() {
        for number in [
            "(415) 555-2671",
            "(415)555-2671",
            "415-555-2671",
            "415.555.2671",
            "415 555 2671",
            "1-415-555-2671",
            "001-415-555-2671",
            "+1 (415) 555-2671",
            "+14155552671",
            "+44 20 7946 0958",
            "+44(0)1632 960 123",
            "+41 (0)96 471 07 95",
            "415-555-2671x036",
            "415-555-2671 ext. 36",
            "0044 20 7946 0958",
            "(08) 9123 4567",
            "+49 30 123456-78",
        ] {
            assert_eq!(found(number), Some((number, 72)), "{number}");
        }
    }

    #[test]
    fn other_groupings_need_a_word_nearby() {
        for number in [
            "0496 46 46 70",
            "699 956 915",
            "03.93.92.16.85",
            "60-56-85-91",
            "780 6326",
            "4155552671",
            "447700921916",
        ] {
            assert_eq!(found(number), Some((number, 50)), "{number}");
        }
    }

    #[test]
    fn dates_addresses_and_sums_are_no_telephone_numbers() {
        for text in [
            "2024-06-10",
            "10/06/2024",
            "10.0.12.255",
            "115-555-2671",
            "415-155-2671",
            "911-555-2671",
            "+0123456789",
            "x+14155552671",
            "1234",
            "4111 1111 1111 1111",
            "+289 123 4567",
            "7777777777",
        ] {
            assert!(found(text).is_none_or(|(_, base)| base < 60), "{text}: {:?}", found(text));
        }
        assert_eq!(found("2024-06-10"), None);
        assert_eq!(found("10/06/2024"), None);
    }
}
