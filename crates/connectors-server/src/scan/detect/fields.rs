//! Which field a value stands in: the column of a delimited file, the key of a JSON member, the label in a log line.
//!
//! A name is context like a word in a sentence, only more certain, and it becomes the finding's field path. Quoted
//! fields that span lines are not followed: their column is then unknown or that of their last line.

use super::words::Meaning;

/// Bytes looked at before a value, and after it.
pub(super) const BEFORE: usize = 64;
pub(super) const AFTER: usize = 32;

/// Bytes of a JSON string or of a line that are walked back at most, to find where it begins.
const WALK: usize = 4096;

/// Longest name that is kept.
const NAME_MAX: usize = 64;

/// Most columns of a delimited file that are known by name.
const COLUMNS_MAX: usize = 1024;

/// How an object names its values. Made from its key and its first bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FieldContext {
    /// Free text and logs.
    Text,
    /// A header line with names.
    Delimited { delimiter: u8, columns: Vec<(String, Meaning)> },
    /// JSON, or JSON lines.
    Json,
}

/// What is known of the place of a value.
pub(super) struct Place<'a> {
    pub(super) name: Option<&'a [u8]>,
    pub(super) meaning: Meaning,
    /// Where the text around the value begins and ends.
    pub(super) from: usize,
    pub(super) to: usize,
}

/// Finds the places of values in one stretch of text, in rising order.
pub(super) struct Places<'a> {
    text: &'a [u8],
    context: &'a FieldContext,
    /// How far the columns are counted.
    column: Column,
}

/// A position in a delimited line.
#[derive(Clone, Copy, Default)]
struct Column {
    /// First byte that is not counted yet.
    at: usize,
    index: usize,
    /// First byte of the field.
    start: usize,
    quoted: bool,
}

impl FieldContext {
    /// Reads the extension of the key and the first line.
    pub(crate) fn of(key: &str, first_bytes: &[u8]) -> Self {
        let extension = key.rsplit_once('.').map(|(_, e)| e.to_ascii_lowercase()).unwrap_or_default();
        match extension.as_str() {
            "json" | "jsonl" | "ndjson" | "geojson" => Self::Json,
            "csv" => header(first_bytes, b",;\t|"),
            "tsv" | "tab" => header(first_bytes, b"\t"),
            "psv" => header(first_bytes, b"|"),
            _ => Self::Text,
        }
    }

    pub(super) fn places<'a>(&'a self, text: &'a [u8]) -> Places<'a> {
        Places { text, context: self, column: Column::default() }
    }
}

impl<'a> Places<'a> {
    pub(super) fn place(&mut self, start: usize, end: usize) -> Place<'a> {
        match self.context {
            FieldContext::Text => labelled(self.text, start, end),
            FieldContext::Json => member(self.text, start, end),
            FieldContext::Delimited { delimiter, columns } => self
                .column(start, end, *delimiter, columns)
                .unwrap_or_else(|| labelled(self.text, start, end)),
        }
    }

    fn column(
        &mut self,
        start: usize,
        end: usize,
        delimiter: u8,
        columns: &'a [(String, Meaning)],
    ) -> Option<Place<'a>> {
        let text = self.text;
        // The value before this one is mostly on the same line: go on from there.
        let floor = start.saturating_sub(WALK).max(self.column.at.min(start));
        match memchr::memrchr(b'\n', &text[floor..start]) {
            Some(newline) => {
                let line = floor + newline + 1;
                self.column = Column { at: line, start: line, ..Column::default() };
            }
            None if floor == self.column.at => {}
            None => return None,
        }
        let column = &mut self.column;
        for (offset, &byte) in text[column.at..start].iter().enumerate() {
            if byte == b'"' {
                column.quoted = !column.quoted;
            } else if byte == delimiter && !column.quoted {
                column.index += 1;
                column.start = column.at + offset + 1;
            }
        }
        column.at = start;
        let (name, meaning) = columns.get(column.index)?;
        let stop = text[end..(end + AFTER).min(text.len())].iter();
        let after = stop.take_while(|b| **b != b'\n' && (column.quoted || **b != delimiter)).count();
        Some(Place {
            name: Some(name.as_bytes()),
            meaning: *meaning,
            from: column.start.max(start.saturating_sub(BEFORE)),
            to: end + after,
        })
    }
}

/// A header line: names, none of them a number or an address.
fn header(first_bytes: &[u8], delimiters: &[u8]) -> FieldContext {
    let line = first_bytes.split(|b| *b == b'\n').next().unwrap_or_default();
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let count = |d: &u8| line.iter().filter(|b| *b == d).count();
    let Some(&delimiter) = delimiters.iter().rev().max_by_key(|d| count(d)) else {
        return FieldContext::Text;
    };
    let mut columns = Vec::new();
    for name in line.split(|b| *b == delimiter).take(COLUMNS_MAX) {
        let name = name.trim_ascii();
        let name = name.strip_prefix(b"\"").and_then(|n| n.strip_suffix(b"\"")).unwrap_or(name);
        let letters = name.iter().filter(|b| b.is_ascii_alphabetic() || **b >= 0x80).count();
        let digits = name.iter().filter(|b| b.is_ascii_digit()).count();
        if name.len() > NAME_MAX || letters <= digits || name.contains(&b'@') {
            return FieldContext::Text;
        }
        columns.push((String::from_utf8_lossy(name).into_owned(), Meaning::of(name)));
    }
    FieldContext::Delimited { delimiter, columns }
}

/// The key of the member whose value, a string or a number, holds the place.
fn member(text: &[u8], start: usize, end: usize) -> Place<'_> {
    let floor = start.saturating_sub(WALK);
    let to = (end + AFTER).min(text.len());
    let to = end + text[end..to].iter().take_while(|b| !matches!(b, b'"' | b'\n')).count();
    let mut value = start;
    // Back to the quote that opens the string; for a number, to the colon.
    while value > floor {
        match text[value - 1] {
            b'"' if value < 2 || text[value - 2] != b'\\' => {
                value -= 1;
                break;
            }
            b':' | b'[' if value == start || text[value..start].iter().all(|b| b" \t-+".contains(b)) => break,
            b'\n' => return labelled(text, start, end),
            _ => value -= 1,
        }
    }
    let from = value.max(start.saturating_sub(BEFORE));
    let name = key_before(text, floor, value);
    Place { meaning: name.map(Meaning::of).unwrap_or_default(), name, from, to }
}

fn key_before(text: &[u8], floor: usize, value: usize) -> Option<&[u8]> {
    let before = text[floor..value].trim_ascii_end();
    let before = before.strip_suffix(b"[").unwrap_or(before).trim_ascii_end();
    let before = before.strip_suffix(b":")?.trim_ascii_end();
    let key = before.strip_suffix(b"\"")?;
    let open = memchr::memrchr(b'"', key)?;
    let key = &key[open + 1..];
    (!key.is_empty() && key.len() <= NAME_MAX).then_some(key)
}

/// Free text: the label directly before the value, as in `card=…` or `Phone: …`.
fn labelled(text: &[u8], start: usize, end: usize) -> Place<'_> {
    let from = start.saturating_sub(BEFORE);
    let before = text[from..start].trim_ascii_end();
    let before =
        before.strip_suffix(b"\"").or_else(|| before.strip_suffix(b"'")).unwrap_or(before).trim_ascii_end();
    let before =
        before.strip_suffix(b"+").or_else(|| before.strip_suffix(b"(")).unwrap_or(before).trim_ascii_end();
    let assigned = before.strip_suffix(b"=").or_else(|| before.strip_suffix(b":"));
    let word = assigned.or_else(|| before.strip_suffix(b"#")).unwrap_or(before).trim_ascii_end();
    let word = word.strip_suffix(b"\"").unwrap_or(word);
    let length =
        word.iter().rev().take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-')).count();
    let label = &word[word.len() - length..];
    let named = assigned.is_some() && label.iter().any(u8::is_ascii_alphabetic) && label.len() <= NAME_MAX;
    Place {
        name: named.then_some(label),
        meaning: Meaning::of(label),
        from,
        to: (end + AFTER).min(text.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name_at(context: &FieldContext, text: &str, value: &str) -> Option<String> {
        let start = text.find(value).unwrap();
        let mut places = context.places(text.as_bytes());
        places.place(start, start + value.len()).name.map(|name| String::from_utf8_lossy(name).into_owned())
    }

    #[test]
    fn a_column_is_found_by_its_position_and_quotes_hide_delimiters() {
        let text = "name,\"card number\",note\n\"Lee, Ann\",4111,\"a, 536\"\r\n";
        let context = FieldContext::of("a/people.CSV", text.as_bytes());
        assert_eq!(name_at(&context, text, "4111").as_deref(), Some("card number"));
        assert_eq!(name_at(&context, text, "536").as_deref(), Some("note"));
    }

    #[test]
    fn a_first_line_of_values_is_no_header() {
        for line in ["Ann,536-22-4417,x\n", "ann@example.com,b\n", "\n"] {
            assert_eq!(FieldContext::of("x.csv", line.as_bytes()), FieldContext::Text, "{line}");
        }
        assert!(matches!(
            FieldContext::of("x.csv", b"a;b;c\n"),
            FieldContext::Delimited { delimiter: b';', .. }
        ));
    }

    #[test]
    fn a_json_value_knows_its_key_as_a_string_a_number_and_the_first_of_a_list() {
        let text = r#"{"order_id": 5105105105105100, "card": "4111 1111", "tels":["+1415"], "note":"say \"hi\" 536"}"#;
        let json = FieldContext::of("x.jsonl", b"");
        assert_eq!(name_at(&json, text, "5105105105105100").as_deref(), Some("order_id"));
        assert_eq!(name_at(&json, text, "4111 1111").as_deref(), Some("card"));
        assert_eq!(name_at(&json, text, "+1415").as_deref(), Some("tels"));
        assert_eq!(name_at(&json, text, "536").as_deref(), Some("note"));
    }

    #[test]
    fn a_label_in_text_is_the_word_before_an_equals_sign_or_colon() {
        let text = "user paid card=4111 and Phone: 555, just 777";
        assert_eq!(name_at(&FieldContext::Text, text, "4111").as_deref(), Some("card"));
        assert_eq!(name_at(&FieldContext::Text, text, "555").as_deref(), Some("Phone"));
        assert_eq!(name_at(&FieldContext::Text, text, "777"), None);
    }
}
