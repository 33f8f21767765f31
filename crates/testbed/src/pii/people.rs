//! People who do not exist, with addresses and telephone numbers that reach nobody.

use super::random::Random;

const FIRST: [&str; 24] = [
    "Amara", "Ben", "Chloé", "Dmitri", "Elena", "Farid", "Grace", "Hiroshi", "Ines", "Jonas", "Kavya",
    "Liam", "Mariam", "Noah", "Olga", "Pedro", "Quinn", "Rosa", "Stefan", "Tamika", "Umar", "Vera", "Wei",
    "Yara",
];
const LAST: [&str; 24] = [
    "Adeyemi",
    "Becker",
    "Castillo",
    "Dubois",
    "Eriksson",
    "Fischer",
    "García",
    "Hoffmann",
    "Ivanova",
    "Jensen",
    "Kowalski",
    "Lindqvist",
    "Moreau",
    "Nakamura",
    "O'Neill",
    "Petrov",
    "Quigley",
    "Rossi",
    "Schneider",
    "Tanaka",
    "Usman",
    "Vasquez",
    "Whitfield",
    "Zhang",
];
const CITIES: [&str; 8] = ["Austin", "Berlin", "Chicago", "Dublin", "Lyon", "Milano", "Rotterdam", "Sevilla"];
/// Set aside for documentation by RFC 2606.
const DOMAINS: [&str; 3] = ["example.com", "example.org", "example.net"];

/// One person.
#[derive(Clone, Debug)]
pub(super) struct Person {
    pub(super) name: String,
    pub(super) city: &'static str,
    pub(super) email: String,
    pub(super) phone: String,
}

impl Person {
    pub(super) fn new(random: &mut Random) -> Self {
        let (first, last) = (random.pick(&FIRST), random.pick(&LAST));
        let plain = |name: &str| name.to_lowercase().replace('é', "e").replace('í', "i").replace('\'', "");
        let (first_plain, last_plain) = (plain(first), plain(last));
        let local = match random.next() % 4 {
            0 => format!("{first_plain}.{last_plain}"),
            1 => format!("{}{last_plain}{}", &first_plain[..1], random.between(1, 99)),
            2 => format!("{first_plain}_{last_plain}"),
            _ => format!("{first_plain}.{last_plain}+{}", random.pick(&["news", "shop", "work"])),
        };
        Self {
            name: format!("{first} {last}"),
            city: random.pick(&CITIES),
            email: format!("{local}@{}", random.pick(&DOMAINS)),
            phone: phone(random),
        }
    }
}

/// Numbers for fiction: 555-0100 to 555-0199 in North America, and what Ofcom and the Bundesnetzagentur set aside.
fn phone(random: &mut Random) -> String {
    let area = random.pick(&["212", "312", "415", "512", "617", "713"]);
    let line = random.between(100, 200);
    match random.next() % 6 {
        0 => format!("({area}) 555-0{line}"),
        1 => format!("{area}-555-0{line}"),
        2 => format!("+1 {area} 555 0{line}"),
        3 => format!("+1-{area}-555-0{line}"),
        4 => format!("+44 20 7946 0{}", random.between(100, 1000)),
        _ => format!("+49 30 23125 {}", random.between(100, 1000)),
    }
}
