//! Files with made-up personal data, the same for the same seed, with the true number of what was planted in each.
//!
//! Nothing in them belongs to anybody: addresses end in the example domains of RFC 2606, telephone numbers are those
//! set aside for fiction, cards begin with the numbers that the networks publish for testing.

mod documents;
mod numbers;
mod people;
mod random;

use std::iter::Sum;
use std::ops::{Add, AddAssign};

use random::Random;

/// How many of each kind of personal data are in a text. Each occurrence counts, repeated ones too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Planted {
    /// E-mail addresses.
    pub emails: usize,
    /// Telephone numbers.
    pub phones: usize,
    /// US social security numbers.
    pub ssns: usize,
    /// Payment card numbers, all passing Luhn.
    pub cards: usize,
    /// IBANs with right check digits.
    pub ibans: usize,
}

impl Planted {
    /// All of them together.
    #[must_use]
    pub fn total(self) -> usize {
        let Self { emails, phones, ssns, cards, ibans } = self;
        emails + phones + ssns + cards + ibans
    }
}

impl Add for Planted {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let Self { emails, phones, ssns, cards, ibans } = other;
        Self {
            emails: self.emails + emails,
            phones: self.phones + phones,
            ssns: self.ssns + ssns,
            cards: self.cards + cards,
            ibans: self.ibans + ibans,
        }
    }
}

impl AddAssign for Planted {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sum for Planted {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        parts.fold(Self::default(), Add::add)
    }
}

/// One generated file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its key in a bucket, with nested prefixes.
    pub key: String,
    /// Its content.
    pub text: String,
    /// What is in it.
    pub planted: Planted,
}

/// `count` files as a company's export bucket holds them: customers, payments, events, tickets, logs and profiles with
/// personal data; catalogues, metrics and notes without any, but with order numbers, UUIDs, hashes and timestamps that
/// look like some.
#[must_use]
pub fn files(seed: u64, count: usize) -> Vec<File> {
    let mut random = Random::new(seed);
    (0..count).map(|index| documents::file(index, &mut random)).collect()
}

/// What is in all of them.
#[must_use]
pub fn planted(files: &[File]) -> Planted {
    files.iter().map(|file| file.planted).sum()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn one_seed_gives_the_same_files_and_another_seed_others() {
        assert_eq!(files(7, 30), files(7, 30));
        assert_ne!(files(7, 30), files(8, 30));
    }

    #[test]
    fn every_key_is_its_own_and_there_are_files_with_and_without_personal_data() {
        let files = files(1, 400);
        let keys: BTreeSet<&str> = files.iter().map(|file| file.key.as_str()).collect();
        assert_eq!(keys.len(), files.len());
        let without = files.iter().filter(|file| file.planted.total() == 0).count();
        assert!((50..200).contains(&without), "{without}");
        let Planted { emails, phones, ssns, cards, ibans } = planted(&files);
        assert!(
            [emails, phones, ssns, cards, ibans].iter().all(|count| *count > 200),
            "{:?}",
            planted(&files)
        );
    }

    #[test]
    fn the_count_of_addresses_is_that_of_the_text() {
        for file in files(3, 200) {
            assert_eq!(file.text.matches("@example.").count(), file.planted.emails, "{}", file.key);
        }
    }

    #[test]
    fn several_kinds_of_files_are_there() {
        let files = files(1, 100);
        for extension in ["csv", "jsonl", "json", "txt", "log", "md"] {
            assert!(files.iter().any(|file| file.key.ends_with(&format!(".{extension}"))), "{extension}");
        }
    }
}
