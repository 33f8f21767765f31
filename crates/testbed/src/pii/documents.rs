//! The kinds of files: each writes its text and counts what it plants as it goes.

use std::fmt::Write;

use super::people::Person;
use super::random::Random;
use super::{File, Planted, numbers};

/// A text under construction. Personal data gets in only through methods that count it.
#[derive(Debug, Default)]
struct Document {
    text: String,
    planted: Planted,
}

impl Document {
    fn email(&mut self, person: &Person) -> String {
        self.planted.emails += 1;
        person.email.clone()
    }

    fn phone(&mut self, person: &Person) -> String {
        self.planted.phones += 1;
        person.phone.clone()
    }

    fn ssn(&mut self, random: &mut Random) -> String {
        self.planted.ssns += 1;
        numbers::ssn(random)
    }

    fn card(&mut self, random: &mut Random) -> String {
        self.planted.cards += 1;
        numbers::card(random)
    }

    fn iban(&mut self, random: &mut Random) -> String {
        self.planted.ibans += 1;
        numbers::iban(random)
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = self.text.write_fmt(line);
        self.text.push('\n');
    }
}

/// The file number `index` of a corpus.
pub(super) fn file(index: usize, random: &mut Random) -> File {
    let (year, month, day) = (2026, random.between(1, 13), random.between(1, 29));
    let mut document = Document::default();
    let key = match index % 9 {
        0 => {
            customers(&mut document, random);
            format!("exports/{year}/{month:02}/customers-{index:04}.csv")
        }
        1 => {
            payments(&mut document, random);
            format!("billing/{}/{year}-{month:02}/payments-{index:04}.csv", random.pick(&["eu", "us"]))
        }
        2 => {
            events(&mut document, random);
            format!("events/web/{year}/{month:02}/{day:02}/part-{index:05}.jsonl")
        }
        3 => {
            ticket(&mut document, random);
            format!("support/tickets/{year}/{index:05}.txt")
        }
        4 => {
            log(&mut document, random);
            format!("logs/api/{year}-{month:02}-{day:02}/app-{index:04}.log")
        }
        5 => {
            profile(&mut document, random);
            format!("crm/profiles/{}/{index:05}.json", random.hex(2))
        }
        6 => {
            catalogue(&mut document, random);
            format!("public/catalogue/{index:04}.json")
        }
        7 => {
            measurements(&mut document, random);
            format!("metrics/{year}/{month:02}/requests-{index:04}.csv")
        }
        _ => {
            notes(&mut document, random);
            format!("docs/releases/notes-{index:04}.md")
        }
    };
    File { key, text: document.text, planted: document.planted }
}

fn customers(document: &mut Document, random: &mut Random) {
    document.line(format_args!("customer_id,full_name,email,phone,ssn,city,zip,created_at"));
    for row in 0..random.between(20, 90) {
        let person = Person::new(random);
        let (email, phone, ssn) = (document.email(&person), document.phone(&person), document.ssn(random));
        let Person { name, city, .. } = person;
        let (zip, day) = (format!("{}-{}", random.digits(5), random.digits(4)), random.between(1, 29));
        document.line(format_args!(
            "C{row:05},\"{name}\",{email},{phone},{ssn},{city},{zip},2026-02-{day:02}T08:00:00Z"
        ));
    }
}

fn payments(document: &mut Document, random: &mut Random) {
    document.line(format_args!("order_number,paid_at,amount,currency,card_number,iban,reference"));
    for _ in 0..random.between(20, 80) {
        let by_card = !random.one_in(3);
        let card = if by_card { document.card(random) } else { String::new() };
        let iban = if by_card { String::new() } else { document.iban(random) };
        let (order, cents, reference) = (order_number(random), random.between(199, 99_999), random.uuid());
        let (euros, cents) = (cents / 100, cents % 100);
        document.line(format_args!(
            "{order},2026-03-04T10:11:12Z,{euros}.{cents:02},EUR,{card},{iban},{reference}"
        ));
    }
}

fn events(document: &mut Document, random: &mut Random) {
    for _ in 0..random.between(60, 200) {
        let (id, order, at) = (random.uuid(), order_number(random), epoch_milliseconds(random));
        let mut details = format!("{{\"order_number\":\"{order}\"}}");
        if random.one_in(12) {
            let person = Person::new(random);
            let (email, phone) = (document.email(&person), document.phone(&person));
            let name = person.name;
            details = format!("{{\"name\":\"{name}\",\"email\":\"{email}\",\"phone\":\"{phone}\"}}");
        }
        let kind = random.pick(&["page_view", "checkout", "login", "search"]);
        document.line(format_args!(
            "{{\"event_id\":\"{id}\",\"at\":{at},\"type\":\"{kind}\",\"details\":{details}}}"
        ));
    }
}

fn ticket(document: &mut Document, random: &mut Random) {
    let person = Person::new(random);
    let (email, phone, order) = (document.email(&person), document.phone(&person), order_number(random));
    let name = &person.name;
    document.line(format_args!("From: {name} <{email}>\nSubject: order {order} arrived twice\n"));
    document.line(format_args!("Hello,\n\nmy order {order} came twice. Please call me back, phone {phone}."));
    if random.one_in(2) {
        let card = document.card(random);
        document.line(format_args!("I paid with my credit card {card} and was charged two times."));
    } else {
        let iban = document.iban(random);
        document.line(format_args!("Please send the money back to my bank account, IBAN {iban}."));
    }
    if random.one_in(4) {
        let ssn = document.ssn(random);
        document.line(format_args!("For the tax form: my social security number is {ssn}."));
    }
    document.line(format_args!("\nKind regards\n{name}"));
}

fn log(document: &mut Document, random: &mut Random) {
    for second in 0..random.between(80, 240) {
        let (request, millis) = (random.uuid(), random.between(1, 900));
        let (minute, second) = (second / 60 % 60, second % 60);
        let head = format!("2026-05-06T07:{minute:02}:{second:02}.{millis:03}Z");
        if random.one_in(40) {
            let person = Person::new(random);
            let email = document.email(&person);
            document.line(format_args!(
                "{head} WARN  password reset mail to {email} bounced request_id={request}"
            ));
        } else {
            let (path, sum) = (random.pick(&["/cart", "/orders", "/search"]), random.hex(40));
            document
                .line(format_args!("{head} INFO  GET {path} 200 {millis}ms request_id={request} etag={sum}"));
        }
    }
}

fn profile(document: &mut Document, random: &mut Random) {
    let person = Person::new(random);
    let (email, phone) = (document.email(&person), document.phone(&person));
    let (ssn, iban) = (document.ssn(random), document.iban(random));
    let (id, name, city) = (random.uuid(), person.name, person.city);
    document.line(format_args!(
        "{{\n  \"id\": \"{id}\",\n  \"person\": {{\n    \"name\": \"{name}\",\n    \"city\": \"{city}\","
    ));
    document.line(format_args!(
        "    \"contact\": {{\"email\": \"{email}\", \"phone\": \"{phone}\"}},\n    \"ssn\": \"{ssn}\"\n  }},"
    ));
    document.line(format_args!("  \"payout\": {{\"iban\": \"{iban}\"}}\n}}"));
}

fn catalogue(document: &mut Document, random: &mut Random) {
    document.line(format_args!("["));
    let items = random.between(20, 60);
    for item in 1..=items {
        let (sku, sum, grams) = (random.digits(13), random.hex(32), random.between(50, 9000));
        let comma = if item < items { "," } else { "" };
        document.line(format_args!(
            "  {{\"sku\": \"SKU-{sku}\", \"md5\": \"{sum}\", \"weight_grams\": {grams}}}{comma}"
        ));
    }
    document.line(format_args!("]"));
}

fn measurements(document: &mut Document, random: &mut Random) {
    document.line(format_args!("at_ms,trace_id,order_number,client,duration_us"));
    for _ in 0..random.between(50, 200) {
        let (at, trace, order) = (epoch_milliseconds(random), random.hex(32), order_number(random));
        let (host, micros) = (random.between(2, 250), random.between(100, 90_000));
        document.line(format_args!("{at},{trace},{order},10.20.{host}.7,{micros}"));
    }
}

fn notes(document: &mut Document, random: &mut Random) {
    let (minor, commit) = (random.between(1, 60), random.hex(40));
    document.line(format_args!("# Release 4.{minor}.0\n\nBuilt from {commit}.\n"));
    for _ in 0..random.between(5, 20) {
        let change = random.pick(&[
            "Search answers faster for long queries.",
            "The cart keeps its content when the session ends (thanks to @cartfan).",
            "Part number 123-45-678 is no longer listed twice.",
            "Uploads above 5 GB are split into parts.",
        ]);
        document.line(format_args!("- {change}"));
    }
}

/// Sixteen digits, as shops number their orders. No card begins with a 1.
fn order_number(random: &mut Random) -> String {
    format!("1{}", random.digits(15))
}

/// Milliseconds since 1970, in 2026.
fn epoch_milliseconds(random: &mut Random) -> u64 {
    random.between(1_767_225_600_000, 1_798_761_600_000)
}
