//! US social security numbers: area, group and serial, without those that are never given out.

use super::confidence::Confidence;
use super::{Category, number::Digits};

/// Numbers that were printed on sample cards and in advertisements.
const INVALIDATED: [&[u8]; 3] =
    [&[0, 7, 8, 0, 5, 1, 1, 2, 0], &[2, 1, 9, 0, 9, 9, 9, 9, 9], &[1, 2, 3, 4, 5, 6, 7, 8, 9]];

/// The base confidence of these digits as a social security number, or `None`.
pub(super) fn base(digits: &Digits) -> Option<Confidence> {
    let number = digits.as_slice();
    let base = match digits.groups() {
        [3, 2, 4] => Category::Ssn.base(),
        // Nine digits in a row are mostly something else.
        [9] => Confidence::WEAK,
        _ => return None,
    };
    let (area, group, serial) = (&number[..3], &number[3..5], &number[5..]);
    let never =
        area == [0, 0, 0] || area == [6, 6, 6] || area[0] == 9 || group == [0, 0] || serial == [0, 0, 0, 0];
    (!never && !INVALIDATED.contains(&number)).then_some(base)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base_of(text: &str) -> Option<u8> {
        Digits::read(text.as_bytes(), 0, b" -.").and_then(|d| base(&d)).map(Confidence::percent)
    }

    #[test]
    fn a_number_in_three_groups_counts_by_itself_and_nine_digits_in_a_row_with_a_word() {
        assert_eq!(base_of("536-22-4417"), Some(80));
        assert_eq!(base_of("536 22 4417"), Some(80));
        assert_eq!(base_of("536224417"), Some(50));
    }

    #[test]
    fn numbers_that_are_never_given_out_are_refused() {
        for number in [
            "000-12-3456",
            "666-12-3456",
            "900-12-3456",
            "987-65-4321",
            "536-00-4417",
            "536-22-0000",
            "078-05-1120",
        ] {
            assert_eq!(base_of(number), None, "{number}");
        }
    }

    #[test]
    fn other_groupings_are_refused() {
        for number in ["53-622-4417", "536-22-441", "536-22-44170", "536-224417", "536-22.4417"] {
            assert_eq!(base_of(number), None, "{number}");
        }
    }
}
