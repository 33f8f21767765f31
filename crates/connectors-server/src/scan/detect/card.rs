//! Payment cards: 12 to 19 digits, in the ranges that issuers use, with a good Luhn digit.

use super::confidence::Confidence;
use super::{Category, number::Digits};

/// How certain the issuer's range makes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Range {
    /// A length that this issuer uses today.
    Usual,
    /// A length that much else has besides (12 or 13 digits, or the rarer lengths of Maestro).
    Rare,
}

/// The base confidence of these digits as a card, or `None`.
pub(super) fn base(digits: &Digits) -> Option<Confidence> {
    let number = digits.as_slice();
    if number.len() < 12 || number.len() > 19 || !grouped_as_card(digits) {
        return None;
    }
    let range = range(number)?;
    if !luhn(number) || is_trivial(number) {
        return None;
    }
    Some(match range {
        Range::Usual => Category::CreditCard.base(),
        Range::Rare => Confidence::WEAK,
    })
}

/// Groups as people write them: none, fours with a shorter rest, 4-6-5 and 4-6-4, all with one separator.
fn grouped_as_card(digits: &Digits) -> bool {
    match digits.groups() {
        [_] => true,
        [4, 6, 4 | 5] => true,
        [first @ .., last] => first.len() >= 2 && first.iter().all(|&g| g == 4) && (1..=7).contains(last),
        [] => false,
    }
}

/// Issuer identification ranges, by the first digits, with the lengths that go with them.
fn range(number: &[u8]) -> Option<Range> {
    let prefix = |n: usize| number[..n].iter().fold(0u32, |value, digit| value * 10 + u32::from(*digit));
    let (p1, p2, p3, p4, p6) = (prefix(1), prefix(2), prefix(3), prefix(4), prefix(6));
    let usual = |lengths: &[usize]| lengths.contains(&number.len()).then_some(Range::Usual);
    let usual_or_rare =
        |usual: &[usize]| Some(if usual.contains(&number.len()) { Range::Usual } else { Range::Rare });
    match () {
        // Visa: 16 and 19 digits; 13 on old cards.
        () if p1 == 4 => match number.len() {
            16 | 19 => Some(Range::Usual),
            13 => Some(Range::Rare),
            _ => None,
        },
        // Mastercard, both series.
        () if (51..=55).contains(&p2) || (2221..=2720).contains(&p4) => usual(&[16]),
        // American Express.
        () if p2 == 34 || p2 == 37 => usual(&[15]),
        // JCB.
        () if p4 == 2131 || p4 == 1800 => usual(&[15]),
        () if (3528..=3589).contains(&p4) => usual(&[16, 17, 18, 19]),
        // Older JCB numbers in 3500 to 3527 appear in test data only.
        () if p2 == 35 && number.len() == 16 => Some(Range::Rare),
        // Diners Club.
        () if (300..=305).contains(&p3) || p2 == 36 || p2 == 38 || p4 == 3095 || p2 == 39 => {
            usual(&[14, 15, 16, 17, 18, 19])
        }
        // Discover, and the range it shares with UnionPay.
        () if p4 == 6011 || p2 == 65 || (644..=649).contains(&p3) || (622_126..=622_925).contains(&p6) => {
            usual(&[16, 17, 18, 19])
        }
        // UnionPay.
        () if p2 == 62 || p2 == 81 => usual(&[16, 17, 18, 19]),
        // RuPay and Mir.
        () if p2 == 60 || p3 == 508 => usual_or_rare(&[16]),
        () if (2200..=2204).contains(&p4) => usual(&[16]),
        // Maestro: every length from 12 to 19.
        () if p2 == 50 || (56..=58).contains(&p2) || p1 == 6 => Some(Range::Rare),
        () => None,
    }
}

fn luhn(number: &[u8]) -> bool {
    let sum: u32 = number
        .iter()
        .rev()
        .enumerate()
        .map(|(place, &digit)| match (place % 2, u32::from(digit)) {
            (0, digit) => digit,
            (_, digit) if digit > 4 => digit * 2 - 9,
            (_, digit) => digit * 2,
        })
        .sum();
    sum.is_multiple_of(10)
}

/// Long runs of one digit (`4444 4444 4444 4448`) are fillers.
fn is_trivial(number: &[u8]) -> bool {
    number[..number.len() - 1].windows(2).all(|pair| pair[0] == pair[1])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base_of(text: &str) -> Option<u8> {
        Digits::read(text.as_bytes(), 0, b" -").and_then(|d| base(&d)).map(Confidence::percent)
    }

    #[test]
    fn published_test_numbers_of_each_issuer_are_cards() {
        for number in [
            "4111111111111111",
            "4111 1111 1111 1111",
            "4111-1111-1111-1111",
            "5555555555554444",
            "2223003122003222",
            "378282246310005",
            "3782 822463 10005",
            "30569309025904",
            "3056 930902 5904",
            "6011111111111117",
            "3530111333300000",
            "180001894718246",
            "6200000000000005",
            "36227206271667",
        ] {
            assert_eq!(base_of(number), Some(90), "{number}");
        }
    }

    #[test]
    fn lengths_that_much_else_has_need_a_context_word() {
        for number in ["584528792610", "4039838161911"] {
            assert_eq!(base_of(number), Some(50), "{number}");
        }
    }

    #[test]
    fn numbers_outside_the_ranges_or_with_a_bad_check_digit_are_not() {
        for number in [
            "4111111111111112", // check digit
            "1234567812345670", // passes Luhn, no issuer
            "9999999999999995", // passes Luhn, no issuer
            "0000000000000000",
            "4444444444444448",  // filler
            "41111111111111111", // 17 digits are no Visa
            "411111 1111111111", // not grouped as a card
            "4111 1111-1111 1111",
        ] {
            assert_eq!(base_of(number), None, "{number}");
        }
    }
}
