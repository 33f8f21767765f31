//! Categories with their published base confidence and sensitivity, and the arithmetic of scores.

/// A kind of personal data that this server finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Category {
    Ssn,
    CreditCard,
    Iban,
    Email,
    Phone,
}

/// A confidence in percent. Whole numbers, so that 0.90 - 0.30 reaches 0.60 exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Confidence(u8);

/// From here on a value is reported.
pub(crate) const THRESHOLD: Confidence = Confidence(60);

/// Added for a word nearby that names the category.
pub(crate) const BOOST: u8 = 15;

/// Taken off for words that name a sample or a product code.
pub(crate) const SAMPLE_PENALTY: u8 = 30;

/// Taken off when the column or key says that the value is something else (an order number). Our own: the published
/// penalty alone would leave a card-like order number exactly at the threshold.
pub(crate) const OTHER_FIELD_PENALTY: u8 = 45;

impl Category {
    pub(crate) const ALL: [Self; 5] = [Self::Ssn, Self::CreditCard, Self::Iban, Self::Email, Self::Phone];

    /// The category as the contract's policies spell such names.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Ssn => "SSN",
            Self::CreditCard => "CREDIT_CARD",
            Self::Iban => "IBAN",
            Self::Email => "EMAIL",
            Self::Phone => "PHONE",
        }
    }

    /// The classifier that finds it, in the kebab case of classifier names.
    pub(crate) fn classifier(self) -> &'static str {
        match self {
            Self::Ssn => "us-ssn",
            Self::CreditCard => "credit-card",
            Self::Iban => "iban",
            Self::Email => "email-address",
            Self::Phone => "phone-number",
        }
    }

    /// Published base confidence (`slim.io/scoring.html`).
    pub(crate) fn base(self) -> Confidence {
        Confidence(match self {
            Self::Ssn => 80,
            Self::CreditCard => 90,
            Self::Iban => 88,
            Self::Email => 85,
            Self::Phone => 72,
        })
    }

    /// Published sensitivity weight in percent (`docs.slim.io/governance/risk-scoring`); an IBAN is a bank account.
    pub(crate) fn sensitivity(self) -> u8 {
        match self {
            Self::Ssn => 100,
            Self::CreditCard | Self::Iban => 90,
            Self::Email | Self::Phone => 50,
        }
    }
}

impl Confidence {
    /// A base of our own for a shape that fits much else besides: reported with a context word only.
    pub(crate) const WEAK: Self = Self(50);

    /// Adds and subtracts, and stays within 0 and 1.
    pub(crate) fn adjusted(self, plus: u8, minus: u8) -> Self {
        let sum = i16::from(self.0) + i16::from(plus) - i16::from(minus);
        // Within 0..=100 after the clamp.
        Self(u8::try_from(sum.clamp(0, 100)).unwrap_or_default())
    }

    pub(crate) fn percent(self) -> u8 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_examples_come_out() {
        let ssn = Category::Ssn.base();
        assert_eq!(ssn.adjusted(BOOST, 0).percent(), 95);
        assert_eq!(ssn.adjusted(0, SAMPLE_PENALTY).percent(), 50);
        assert!(ssn.adjusted(0, SAMPLE_PENALTY) < THRESHOLD);
    }

    #[test]
    fn a_score_stays_within_0_and_1_and_a_value_at_the_threshold_counts() {
        assert_eq!(Category::CreditCard.base().adjusted(BOOST, 0).percent(), 100);
        assert_eq!(Confidence::WEAK.adjusted(0, 75).percent(), 0);
        assert!(Category::CreditCard.base().adjusted(0, SAMPLE_PENALTY) >= THRESHOLD);
    }

    #[test]
    fn a_weak_shape_counts_with_a_context_word_and_not_without() {
        assert!(Confidence::WEAK < THRESHOLD);
        assert!(Confidence::WEAK.adjusted(BOOST, 0) >= THRESHOLD);
    }
}
