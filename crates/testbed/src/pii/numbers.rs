//! Numbers with check digits: cards (Luhn, ISO/IEC 7812-1) and IBANs (mod 97, ISO 13616).

use super::random::Random;

/// Card numbers begin like this and have this many digits: ranges of each brand.
const CARDS: [(&str, usize); 9] = [
    ("424242", 16), // Visa
    ("401288", 16), // Visa
    ("555555", 16), // Mastercard
    ("222300", 16), // Mastercard, 2-series
    ("378282", 15), // American Express
    ("371449", 15), // American Express
    ("601111", 16), // Discover
    ("353011", 16), // JCB
    ("305693", 14), // Diners Club
];

/// Country, and the shape of its account numbers: `A` a letter, `9` a digit.
const IBANS: [(&str, &str); 6] = [
    ("DE", "999999999999999999"),
    ("GB", "AAAA99999999999999"),
    ("FR", "99999999999999999999999"),
    ("NL", "AAAA9999999999"),
    ("ES", "99999999999999999999"),
    ("IT", "A9999999999999999999999"),
];

/// A card number that passes Luhn, in one block or in groups.
pub(super) fn card(random: &mut Random) -> String {
    let (prefix, length) = random.pick(&CARDS);
    let mut digits = format!("{prefix}{}", random.digits(length - prefix.len() - 1));
    digits.push(luhn_digit(&digits));
    let groups: &[usize] = match length {
        16 => &[4, 4, 4, 4],
        15 => &[4, 6, 5],
        _ => &[4, 6, 4],
    };
    match random.next() % 3 {
        0 => grouped(&digits, groups, ' '),
        1 => grouped(&digits, groups, '-'),
        _ => digits,
    }
}

/// An IBAN with right check digits, without spaces or in groups of four.
pub(super) fn iban(random: &mut Random) -> String {
    let (country, shape) = random.pick(&IBANS);
    let account: String = shape
        .chars()
        .map(|kind| match kind {
            'A' => random.pick(&b"ABCDEFGHIJKLMNOPQRSTUVWXYZ".map(char::from)),
            _ => random.pick(&b"0123456789".map(char::from)),
        })
        .collect();
    let check = 98 - mod_97(&format!("{account}{country}00"));
    let iban = format!("{country}{check:02}{account}");
    if random.one_in(2) {
        let blocks: Vec<&str> =
            (0..iban.len()).step_by(4).map(|at| &iban[at..iban.len().min(at + 4)]).collect();
        return blocks.join(" ");
    }
    iban
}

/// A social security number that may exist: no area 000, 666 or 9xx, no group 00, no serial 0000.
pub(super) fn ssn(random: &mut Random) -> String {
    let area = match random.between(1, 900) {
        666 => 665,
        area => area,
    };
    format!("{area:03}-{:02}-{:04}", random.between(1, 100), random.between(1, 10_000))
}

/// The digit that makes `digits` followed by it pass Luhn.
fn luhn_digit(digits: &str) -> char {
    let sum: u32 = digits
        .bytes()
        .rev()
        .enumerate()
        .map(|(at, byte)| {
            let digit = u32::from(byte - b'0');
            // Counted from the missing last digit, every second one is doubled, the nearest first.
            let doubled = if at % 2 == 0 { digit * 2 } else { digit };
            if doubled > 9 { doubled - 9 } else { doubled }
        })
        .sum();
    char::from_digit((10 - sum % 10) % 10, 10).unwrap_or('0')
}

/// The rest of the number that letters (A = 10) and digits spell, divided by 97.
fn mod_97(text: &str) -> u64 {
    text.chars().filter_map(|letter| letter.to_digit(36)).fold(0, |rest, value| {
        let shift = if value > 9 { 100 } else { 10 };
        (rest * shift + u64::from(value)) % 97
    })
}

fn grouped(digits: &str, groups: &[usize], separator: char) -> String {
    let mut text = String::new();
    let mut at = 0;
    for length in groups {
        if at > 0 {
            text.push(separator);
        }
        text.push_str(&digits[at..at + length]);
        at += length;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_test_numbers_get_their_own_check_digit() {
        for card in ["4242424242424242", "378282246310005", "6011111111111117", "30569309025904"] {
            let (body, last) = card.split_at(card.len() - 1);
            assert_eq!(luhn_digit(body).to_string(), last, "{card}");
        }
    }

    #[test]
    fn the_published_examples_of_ibans_are_valid_by_our_rule() {
        for iban in ["GB82WEST12345698765432", "DE89370400440532013000", "NL91ABNA0417164300"] {
            assert_eq!(mod_97(&format!("{}{}", &iban[4..], &iban[..4])), 1, "{iban}");
        }
    }

    #[test]
    fn every_generated_number_is_valid_under_its_own_rule() {
        let mut random = Random::new(5);
        for _ in 0..500 {
            let card: String = card(&mut random).chars().filter(char::is_ascii_digit).collect();
            assert!(card.ends_with(luhn_digit(&card[..card.len() - 1])), "{card}");
            let iban = iban(&mut random).replace(' ', "");
            assert_eq!(mod_97(&format!("{}{}", &iban[4..], &iban[..4])), 1, "{iban}");
            let ssn = ssn(&mut random);
            assert!(!ssn.starts_with("000") && !ssn.starts_with("666") && !ssn.starts_with('9'), "{ssn}");
        }
    }
}
