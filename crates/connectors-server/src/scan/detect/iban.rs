//! International bank account numbers: known country, its length, and the check of ISO 13616 (mod 97).

use super::{Candidate, Category};

/// Countries of the IBAN registry with the length of their numbers.
const COUNTRIES: [(&[u8; 2], u8); 89] = [
    (b"AD", 24),
    (b"AE", 23),
    (b"AL", 28),
    (b"AT", 20),
    (b"AZ", 28),
    (b"BA", 20),
    (b"BE", 16),
    (b"BG", 22),
    (b"BH", 22),
    (b"BI", 27),
    (b"BR", 29),
    (b"BY", 28),
    (b"CH", 21),
    (b"CR", 22),
    (b"CY", 28),
    (b"CZ", 24),
    (b"DE", 22),
    (b"DJ", 27),
    (b"DK", 18),
    (b"DO", 28),
    (b"EE", 20),
    (b"EG", 29),
    (b"ES", 24),
    (b"FI", 18),
    (b"FK", 18),
    (b"FO", 18),
    (b"FR", 27),
    (b"GB", 22),
    (b"GE", 22),
    (b"GI", 23),
    (b"GL", 18),
    (b"GR", 27),
    (b"GT", 28),
    (b"HN", 28),
    (b"HR", 21),
    (b"HU", 28),
    (b"IE", 22),
    (b"IL", 23),
    (b"IQ", 23),
    (b"IS", 26),
    (b"IT", 27),
    (b"JO", 30),
    (b"KW", 30),
    (b"KZ", 20),
    (b"LB", 28),
    (b"LC", 32),
    (b"LI", 21),
    (b"LT", 20),
    (b"LU", 20),
    (b"LV", 21),
    (b"LY", 25),
    (b"MC", 27),
    (b"MD", 24),
    (b"ME", 22),
    (b"MK", 19),
    (b"MN", 20),
    (b"MR", 27),
    (b"MT", 31),
    (b"MU", 30),
    (b"NI", 28),
    (b"NL", 18),
    (b"NO", 15),
    (b"OM", 23),
    (b"PK", 24),
    (b"PL", 28),
    (b"PS", 29),
    (b"PT", 25),
    (b"QA", 29),
    (b"RO", 24),
    (b"RS", 22),
    (b"RU", 33),
    (b"SA", 24),
    (b"SC", 31),
    (b"SD", 18),
    (b"SE", 24),
    (b"SI", 19),
    (b"SK", 24),
    (b"SM", 27),
    (b"SO", 23),
    (b"ST", 25),
    (b"SV", 28),
    (b"TL", 23),
    (b"TN", 24),
    (b"TR", 26),
    (b"UA", 29),
    (b"VA", 22),
    (b"VG", 24),
    (b"XK", 20),
    (b"YE", 30),
];

/// The number whose check digits begin at `digits`, two letters after its start.
pub(super) fn at(text: &[u8], digits: usize) -> Option<Candidate> {
    let start = digits.checked_sub(2)?;
    let country = [text[start].to_ascii_uppercase(), text[start + 1].to_ascii_uppercase()];
    let inside_word = start > 0 && (text[start - 1].is_ascii_alphanumeric() || text[start - 1] == b'_');
    if inside_word || !country.iter().all(u8::is_ascii_uppercase) {
        return None;
    }
    let index = COUNTRIES.binary_search_by(|(code, _)| code.as_slice().cmp(&country)).ok()?;
    let length = usize::from(COUNTRIES[index].1);
    let mut number = [0u8; 34];
    let (mut taken, mut end) = (0, start);
    while taken < length {
        let byte = *text.get(end)?;
        if byte.is_ascii_alphanumeric() {
            number[taken] = byte.to_ascii_uppercase();
            taken += 1;
        } else if !(matches!(byte, b' ' | b'-') && taken % 4 == 0) {
            // Spaces stand after each four characters or nowhere.
            return None;
        }
        end += 1;
    }
    let number = &number[..length];
    let closed = text.get(end).is_none_or(|b| !b.is_ascii_alphanumeric() && *b != b'_');
    if !closed || !number[2..4].iter().all(u8::is_ascii_digit) || remainder(number) != 1 {
        return None;
    }
    Some(Candidate { start, end, category: Category::Iban, base: Category::Iban.base() })
}

/// The number with its first four characters moved to the end and letters as 10 to 35, modulo 97.
fn remainder(number: &[u8]) -> u32 {
    let (head, tail) = number.split_at(4);
    tail.iter().chain(head).fold(0, |rest, &byte| match byte {
        b'0'..=b'9' => (rest * 10 + u32::from(byte - b'0')) % 97,
        _ => (rest * 100 + u32::from(byte - b'A') + 10) % 97,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> bool {
        at(text.as_bytes(), 2).is_some_and(|c| c.end == text.len())
    }

    #[test]
    fn numbers_of_the_registry_are_found_with_and_without_spaces_in_either_case() {
        for number in [
            "DE89370400440532013000",
            "DE89 3704 0044 0532 0130 00",
            "de89370400440532013000",
            "GB82WEST12345698765432",
            "NO9386011117947",
            "FR1420041010050500013M02606",
            "MT84MALT011000012345MTLCAST001S",
            "NL91 ABNA 0417 1643 00",
            "CH9300762011623852957",
        ] {
            assert!(found(number), "{number}");
        }
    }

    #[test]
    fn a_wrong_check_digit_length_or_country_is_refused() {
        for number in [
            "DE88370400440532013000",
            "DE8937040044053201300",
            "ZZ89370400440532013000",
            "DE893704004405320130001",
            "DE89-370400-440532013000",
        ] {
            assert!(!found(number), "{number}");
        }
    }

    #[test]
    fn the_table_is_sorted_for_the_search() {
        assert!(COUNTRIES.is_sorted_by_key(|(code, _)| *code));
    }
}
