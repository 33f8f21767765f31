//! E-mail addresses: `@` is found at memory speed, and its neighbourhood is checked by the rules of RFC 5321.

use super::{Candidate, Category};

/// Longest local part.
const LOCAL_MAX: usize = 64;

/// Longest domain.
const DOMAIN_MAX: usize = 253;

/// Every address, in order of position.
pub(super) fn find(text: &[u8]) -> impl Iterator<Item = Candidate> + '_ {
    let mut floor = 0;
    memchr::memchr_iter(b'@', text).filter_map(move |at| {
        let (start, end) = address(text, at, floor)?;
        floor = end;
        Some(Candidate { start, end, category: Category::Email, base: Category::Email.base() })
    })
}

/// The address around the `@`. Nothing before `floor` is part of it.
fn address(text: &[u8], at: usize, floor: usize) -> Option<(usize, usize)> {
    let lowest = floor.max(at.saturating_sub(LOCAL_MAX + 1));
    let mut start = at;
    while start > lowest && is_local(text[start - 1]) {
        start -= 1;
    }
    // Quotes and dots around a local part are not part of it.
    while start < at && matches!(text[start], b'.' | b'\'' | b'-') {
        start += 1;
    }
    let local = &text[start..at];
    if local.is_empty()
        || local.len() > LOCAL_MAX
        || local.ends_with(b".")
        || local.windows(2).any(|w| w == b"..")
    {
        return None;
    }
    let end = domain_end(text, at + 1)?;
    // `user@host.tld@other` and `x:pass@host` in URLs are not addresses.
    let follows = text.get(end).copied();
    if follows == Some(b'@') || (start >= 1 && is_url_password(text, start)) {
        return None;
    }
    Some((start, end))
}

/// End of a domain with at least two labels, the last of letters.
fn domain_end(text: &[u8], from: usize) -> Option<usize> {
    let limit = text.len().min(from + DOMAIN_MAX);
    let mut end = from;
    while end < limit && (text[end].is_ascii_alphanumeric() || matches!(text[end], b'-' | b'.')) {
        end += 1;
    }
    // A sentence may end right after the address.
    while end > from && matches!(text[end - 1], b'.' | b'-') {
        end -= 1;
    }
    let domain = &text[from..end];
    let mut labels = 0;
    for label in domain.split(|&b| b == b'.') {
        if label.is_empty() || label.len() > 63 || label.starts_with(b"-") || label.ends_with(b"-") {
            return None;
        }
        labels += 1;
    }
    let top = domain.rsplit(|&b| b == b'.').next()?;
    let letters = top.iter().all(u8::is_ascii_alphabetic) || top.starts_with(b"xn--");
    (labels >= 2 && top.len() >= 2 && letters && !is_file_extension(top)).then_some(end)
}

/// `icon@2x.png` is a file.
fn is_file_extension(top: &[u8]) -> bool {
    [&b"png"[..], b"jpg", b"jpeg", b"gif", b"svg", b"webp", b"css", b"js", b"html"]
        .iter()
        .any(|extension| top.eq_ignore_ascii_case(extension))
}

/// Whether `start` follows `scheme://user:`.
fn is_url_password(text: &[u8], start: usize) -> bool {
    if text[start - 1] != b':' {
        return false;
    }
    let before = &text[start.saturating_sub(80)..start - 1];
    before.rsplit(|b| b.is_ascii_whitespace()).next().is_some_and(|word| word.windows(3).any(|w| w == b"://"))
}

/// What people have in local parts. RFC 5321 allows more (`=`, `/`, `#`…), which in real text ends the word before it.
fn is_local(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || byte >= 0x80
        || matches!(byte, b'.' | b'_' | b'%' | b'+' | b'-' | b'\'' | b'~')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<&str> {
        find(text.as_bytes()).map(|c| &text[c.start..c.end]).collect()
    }

    #[test]
    fn addresses_are_found_without_what_surrounds_them() {
        assert_eq!(found("write to (ann.lee+x@mail.example.co.uk)."), ["ann.lee+x@mail.example.co.uk"]);
        assert_eq!(found("a@b.io,c@d.org;\"e@f.de\""), ["a@b.io", "c@d.org", "e@f.de"]);
        assert_eq!(found("<mailto:o'brien@example.ie>"), ["o'brien@example.ie"]);
        assert_eq!(found("email=x_1@example.com&next=1"), ["x_1@example.com"]);
        assert_eq!(found("Reach me at kim@example.com."), ["kim@example.com"]);
    }

    #[test]
    fn what_only_looks_like_an_address_is_left_alone() {
        for text in [
            "@handle",
            "a@b",
            "user@localhost",
            "x@1.2.3.4",
            "name@.com",
            "a..b@example.com",
            "icon@2x.png",
            "https://user:secret@example.com/",
            "version@1.2",
            "a@-b.com",
        ] {
            assert!(found(text).is_empty(), "{text}: {:?}", found(text));
        }
    }

    #[test]
    fn a_local_part_of_65_characters_is_too_long() {
        let long = format!("{}@example.com", "a".repeat(65));
        assert!(found(&long).is_empty());
        assert_eq!(found(&long[1..]).len(), 1);
    }
}
