//! Words that say what stands next to them: a category, a sample, or another kind of number.

use super::Category;

/// What the words of a name or a stretch of text say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Meaning {
    categories: u8,
    /// A sample or a product code.
    pub(super) sample: bool,
    /// A number of another kind: an order, a time, a size.
    pub(super) other: bool,
}

impl Meaning {
    /// Whether a word names this category.
    pub(super) fn names(self, category: Category) -> bool {
        self.categories & bit(category) != 0
    }

    /// What both say.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            categories: self.categories | other.categories,
            sample: self.sample || other.sample,
            other: self.other || other.other,
        }
    }

    /// Whether a word names any category.
    pub(super) fn names_any(self) -> bool {
        self.categories != 0
    }

    /// Reads the words of a text. Words that are part of an address or a host name do not count: `example.com` next
    /// to a value does not make it a sample.
    pub(super) fn of(text: &[u8]) -> Self {
        let mut meaning = Self::default();
        let mut previous = Word::default();
        let mut at = 0;
        while at < text.len() {
            if !text[at].is_ascii_alphabetic() {
                at += 1;
                continue;
            }
            let start = at;
            at += 1;
            // `cardNumber` is two words, `SSN` is one.
            while at < text.len()
                && text[at].is_ascii_alphabetic()
                && !(text[at].is_ascii_uppercase() && text[at - 1].is_ascii_lowercase())
            {
                at += 1;
            }
            let dotted =
                |i: Option<usize>| i.and_then(|i| text.get(i)).is_some_and(|b| matches!(b, b'@' | b'.'));
            let hosted = dotted(start.checked_sub(1))
                || (dotted(Some(at)) && text.get(at + 1).is_some_and(u8::is_ascii_alphanumeric));
            let word = Word::lower(&text[start..at]);
            if !hosted {
                meaning.add(word.as_slice(), previous.as_slice());
            }
            previous = word;
        }
        meaning
    }

    fn add(&mut self, word: &[u8], previous: &[u8]) {
        let categories = match word {
            b"ssn" | b"socialsecurity" | b"taxpayer" | b"itin" => bit(Category::Ssn),
            b"security" if previous == b"social" => bit(Category::Ssn),
            b"sec" if previous == b"soc" || previous == b"social" => bit(Category::Ssn),
            b"card" | b"cards" | b"credit" | b"debit" | b"visa" | b"mastercard" | b"maestro" | b"amex"
            | b"jcb" | b"diners" | b"discover" | b"unionpay" | b"cc" | b"ccn" | b"pan" | b"creditcard"
            | b"cardnumber" | b"cardholder" | b"cvv" | b"cvc" => bit(Category::CreditCard),
            b"express" if previous == b"american" => bit(Category::CreditCard),
            b"iban" | b"bic" | b"swift" | b"bank" | b"sepa" | b"transfer" => bit(Category::Iban),
            b"account" | b"konto" | b"compte" => bit(Category::Iban),
            b"email" | b"mail" | b"emails" => bit(Category::Email),
            b"contact" => bit(Category::Email) | bit(Category::Phone),
            b"phone" | b"phones" | b"telephone" | b"tel" | b"mobile" | b"cell" | b"cellphone" | b"call"
            | b"calling" | b"called" | b"fax" | b"dial" | b"sms" | b"whatsapp" | b"msisdn" | b"ph"
            | b"hotline" | b"landline" | b"telefon" | b"office" | b"desk" | b"phonenumber" | b"messages"
            | b"answering" => bit(Category::Phone),
            _ => 0,
        };
        self.categories |= categories;
        self.sample |= matches!(
            word,
            b"example"
                | b"examples"
                | b"sample"
                | b"samples"
                | b"test"
                | b"testing"
                | b"dummy"
                | b"fake"
                | b"placeholder"
                | b"fictitious"
                | b"mock"
                | b"specimen"
        ) || matches!(
            (previous, word),
            (b"product", b"code") | (b"product", b"codes") | (b"part", b"number")
        );
        self.other |= matches!(
            word,
            b"order"
                | b"orders"
                | b"invoice"
                | b"tracking"
                | b"shipment"
                | b"sku"
                | b"isbn"
                | b"ean"
                | b"upc"
                | b"barcode"
                | b"uuid"
                | b"guid"
                | b"hash"
                | b"checksum"
                | b"digest"
                | b"sha"
                | b"md"
                | b"timestamp"
                | b"epoch"
                | b"ts"
                | b"version"
                | b"serial"
                | b"txn"
                | b"transaction"
                | b"batch"
                | b"lot"
                | b"ref"
                | b"reference"
                | b"ticket"
                | b"seq"
                | b"sequence"
                | b"offset"
                | b"bytes"
                | b"size"
                | b"count"
                | b"amount"
                | b"price"
                | b"total"
                | b"lat"
                | b"lon"
                | b"latitude"
                | b"longitude"
                | b"imei"
                | b"id"
                | b"span"
                | b"trace"
                | b"session"
                | b"nonce"
        );
    }
}

/// A short word in lower case.
#[derive(Default, Clone, Copy)]
struct Word {
    bytes: [u8; 16],
    len: usize,
}

impl Word {
    /// Longer words than any in the lists become empty ones.
    fn lower(text: &[u8]) -> Self {
        let mut word = Self::default();
        if let Some(slot) = word.bytes.get_mut(..text.len()) {
            slot.copy_from_slice(text);
            slot.make_ascii_lowercase();
            word.len = text.len();
        }
        word
    }

    fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

fn bit(category: Category) -> u8 {
    match category {
        Category::Ssn => 1,
        Category::CreditCard => 2,
        Category::Iban => 4,
        Category::Email => 8,
        Category::Phone => 16,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str, category: Category) -> bool {
        Meaning::of(text.as_bytes()).names(category)
    }

    #[test]
    fn names_are_split_at_case_digits_and_underscores() {
        for text in ["card_number", "cardNumber", "CARD NUMBER", "primary-card", "Card#", "card2"] {
            assert!(names(text, Category::CreditCard), "{text}");
        }
        assert!(!names("discard", Category::CreditCard));
        assert!(!names("cardinal", Category::CreditCard));
    }

    #[test]
    fn two_words_are_needed_where_one_says_too_little() {
        assert!(names("Social Security number", Category::Ssn));
        assert!(names("social_security_no", Category::Ssn));
        assert!(!names("social media", Category::Ssn));
        assert!(!names("security", Category::Ssn));
    }

    #[test]
    fn host_names_and_addresses_name_nothing() {
        assert!(!Meaning::of(b"ann@example.com").sample);
        assert!(!Meaning::of(b"https://test.example.org/").sample);
        assert!(Meaning::of(b"for example: ").sample);
        assert!(Meaning::of(b"This is a test.").sample);
        assert!(Meaning::of(b"product code").sample);
        assert!(!Meaning::of(b"product, zip code").sample);
    }
}
