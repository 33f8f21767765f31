//! Whole-text tests of the detectors: planted values found, hard negatives left alone.

use super::*;

fn found_in(key: &str, text: &str) -> Vec<(Category, String, u8)> {
    let mut out = Vec::new();
    let fields = FieldContext::of(key, text.as_bytes());
    scan(text.as_bytes(), &fields, 0..usize::MAX, |m| {
        out.push((m.category, text[m.start..m.end].to_owned(), m.confidence))
    });
    out
}

fn found(text: &str) -> Vec<(Category, String, u8)> {
    found_in("x.txt", text)
}

#[test]
fn a_context_word_adds_and_a_sample_word_takes_away_as_published() {
    assert_eq!(found("number 536-22-4417"), [(Category::Ssn, "536-22-4417".to_owned(), 80)]);
    assert_eq!(found("social security number 536-22-4417"), [(Category::Ssn, "536-22-4417".to_owned(), 95)]);
    assert!(found("product code 536-22-4417 (sample)").is_empty());
}

#[test]
fn a_column_or_key_name_counts_as_a_word_nearby() {
    assert_eq!(found_in("a.csv", "name,ssn\nAnn,536224417\n"), [(Category::Ssn, "536224417".to_owned(), 65)]);
    assert_eq!(found_in("a.json", r#"{"ssn": 536224417}"#), [(Category::Ssn, "536224417".to_owned(), 65)]);
    assert!(found_in("a.csv", "name,population\nAnn,536224417\n").is_empty());
}

#[test]
fn an_order_number_that_looks_like_a_card_is_left_alone() {
    for (key, text) in [
        ("a.jsonl", r#"{"order_id": 5105105105105100}"#),
        ("a.jsonl", r#"{"orderNumber":"4111111111111111"}"#),
        ("a.csv", "order_id,x\n4111111111111111,y\n"),
        ("a.log", "2024-06-10T12:00:00Z INFO order=4111111111111111 done"),
        ("a.log", "shipped order 4111111111111111 today"),
    ] {
        assert!(found_in(key, text).is_empty(), "{text}: {:?}", found_in(key, text));
    }
    assert_eq!(found_in("a.jsonl", r#"{"card": 5105105105105100}"#).len(), 1);
}

#[test]
fn one_value_is_one_finding_of_its_most_specific_category() {
    assert_eq!(
        found("mail 4111111111111111@example.com"),
        [(Category::Email, "4111111111111111@example.com".to_owned(), 100)]
    );
    assert_eq!(found("IBAN DE89 3704 0044 0532 0130 00").len(), 1);
    assert_eq!(found("+4915112345678")[0].0, Category::Phone);
}

#[test]
fn the_same_digits_are_a_phone_under_one_name_and_an_ssn_under_another() {
    assert_eq!(found_in("a.csv", "phone\n699956915\n")[0].0, Category::Phone);
    assert_eq!(found_in("a.csv", "ssn\n536956915\n")[0].0, Category::Ssn);
}

#[test]
fn hard_negatives_are_left_alone() {
    for text in [
        "id 550e8400-e29b-41d4-a716-446655440000",
        "commit 9fceb02d0ae598e95dc970b74767f19372d61af8",
        "at 1718031234567 and 1718031234",
        "from 192.168.100.200:8080 to 10.0.0.1",
        "pi is 3.14159265358979323846",
        "2024-06-10 12:34:56.789012 +0000",
        "total 1,234,567.89 USD",
        "version 1.22.333.4444",
        "isbn 978-3-16-148410-0",
        "ean 4006381333931",
        "sum 12345678901234567890123",
        "52.520008, 13.404954",
    ] {
        assert!(found(text).is_empty(), "{text}: {:?}", found(text));
    }
}

/// A small generator of its own, so that the figures do not depend on the time of day.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }

    fn digits(&mut self, n: usize) -> String {
        (0..n).map(|_| char::from(b'0' + self.below(10) as u8)).collect()
    }
}

fn with_luhn(mut number: String) -> String {
    let sum: u32 = number.bytes().rev().enumerate().fold(0, |sum, (i, b)| {
        let d = u32::from(b - b'0') * if i % 2 == 0 { 2 } else { 1 };
        sum + if d > 9 { d - 9 } else { d }
    });
    number.push(char::from(b'0' + ((10 - sum % 10) % 10) as u8));
    number
}

fn planted(dice: &mut Dice) -> (Category, String) {
    match dice.below(5) {
        0 => {
            let area = loop {
                let area = 1 + dice.below(898);
                if area != 666 {
                    break area;
                }
            };
            (Category::Ssn, format!("{area:03}-{:02}-{:04}", 1 + dice.below(99), 1 + dice.below(9999)))
        }
        1 => {
            let (prefix, length) = [
                ("4", 16),
                ("51", 16),
                ("2301", 16),
                ("37", 15),
                ("6011", 16),
                ("3528", 16),
                ("2131", 15),
                ("36", 14),
                ("62", 16),
            ][dice.below(9) as usize];
            let number = format!("{prefix}{}", dice.digits(length - 1 - prefix.len()));
            (Category::CreditCard, with_luhn(number))
        }
        2 => (Category::Email, format!("user{}.x@mail{}.example.org", dice.below(1000), dice.below(50))),
        3 => {
            let exchange = format!("{}{}", 2 + dice.below(8), 20 + dice.below(80));
            let area = format!("{}{}", 2 + dice.below(8), 20 + dice.below(80));
            let rest = dice.digits(4);
            (
                Category::Phone,
                match dice.below(3) {
                    0 => format!("({area}) {exchange}-{rest}"),
                    1 => format!("{area}-{exchange}-{rest}"),
                    _ => format!("+1 {area} {exchange} {rest}"),
                },
            )
        }
        _ => {
            let account = dice.digits(18);
            // Check digits of a German number: letters as numbers, the country at the end.
            let rest =
                format!("{account}131400").bytes().fold(0u64, |r, b| (r * 10 + u64::from(b - b'0')) % 97);
            (Category::Iban, format!("DE{:02}{account}", 98 - rest))
        }
    }
}

fn negative(dice: &mut Dice) -> String {
    match dice.below(7) {
        0 => format!("order_id={}", with_luhn(dice.digits(15))),
        1 => {
            let hex = |dice: &mut Dice, n: usize| {
                (0..n).map(|_| char::from(b"0123456789abcdef"[dice.below(16) as usize])).collect::<String>()
            };
            let parts: Vec<String> = [8, 4, 4, 4, 12].iter().map(|&n| hex(dice, n)).collect();
            parts.join("-")
        }
        2 => format!("17{}", dice.digits(11)),
        3 => format!(
            "2024-0{}-1{}T12:{:02}:56.{}Z",
            1 + dice.below(9),
            dice.below(10),
            dice.below(60),
            dice.digits(6)
        ),
        4 => format!("10.{}.{}.{}", dice.below(256), dice.below(256), dice.below(256)),
        5 => format!("0.{}", dice.digits(16)),
        _ => format!("{}.{}", dice.digits(5), dice.digits(2)),
    }
}

#[test]
fn planted_values_among_hard_negatives_are_found_and_nothing_else_is() {
    let mut dice = Dice(0x5eed);
    let (mut text, mut expected) = (String::new(), Vec::new());
    for n in 0..1000 {
        if n % 5 == 0 {
            let (category, value) = planted(&mut dice);
            text.push_str("row ");
            expected.push((text.len(), category));
            text.push_str(&value);
            text.push_str(" end\n");
        } else {
            text.push_str(&format!("event {} ok\n", negative(&mut dice)));
        }
    }
    let mut found = Vec::new();
    scan(text.as_bytes(), &FieldContext::Text, 0..usize::MAX, |m| {
        found.push((m.start, m.category));
    });
    let missed: Vec<_> = expected.iter().filter(|e| !found.contains(e)).collect();
    let extra: Vec<_> =
        found.iter().filter(|f| !expected.contains(f)).map(|f| (f, &text[f.0..f.0 + 30])).collect();
    assert!(missed.is_empty(), "missed {missed:?}");
    assert!(extra.is_empty(), "extra {extra:?}");
}
