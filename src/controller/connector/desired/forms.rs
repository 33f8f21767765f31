//! The forms that the CRD's rules ask for, for specs that an older schema let through. A test holds the two against each
//! other.

/// An IAM role's ARN, of any partition, with or without a path.
pub(super) fn is_role_arn(text: &str) -> bool {
    let parts = text.strip_prefix("arn:aws").and_then(|rest| {
        let (partition, rest) = rest.split_once(":iam::")?;
        let (account, role) = rest.split_once(":role/")?;
        Some((partition, account, role))
    });
    parts.is_some_and(|(partition, account, role)| {
        partition.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')
            && account.len() == 12
            && is_number(account)
            && is_of(role, "+=,.@_/-")
    })
}

/// What STS takes as an external id.
pub(super) fn is_external_id(text: &str) -> bool {
    is_of(text, "+=,.@:/_-")
}

/// The code of an AWS region.
pub(super) fn is_region(text: &str) -> bool {
    let letters = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase());
    let parts = text.split('-').collect::<Vec<_>>();
    let [area, middle @ .., number] = parts.as_slice() else { return false };
    (2..=3).contains(&area.len())
        && letters(area)
        && !middle.is_empty()
        && middle.iter().all(|part| letters(part))
        && (1..=2).contains(&number.len())
        && is_number(number)
}

/// A Google project's id, with the domain that old ones have.
pub(super) fn is_project_id(text: &str) -> bool {
    let (domain, id) = text.split_once(':').map_or((None, text), |(domain, id)| (Some(domain), id));
    domain.is_none_or(|domain| is_lower_of(domain, ".-"))
        && (6..=30).contains(&id.len())
        && id.starts_with(|c: char| c.is_ascii_lowercase())
        && !id.ends_with('-')
        && is_lower_of(id, "-")
}

/// A Google service account's e-mail address.
pub(super) fn is_service_account(text: &str) -> bool {
    let parts = text.strip_suffix(".gserviceaccount.com").and_then(|rest| rest.split_once('@'));
    parts.is_some_and(|(name, domain)| is_lower_of(name, "-") && is_lower_of(domain, ".:-"))
}

/// The resource name of a workload identity federation provider.
pub(super) fn is_federation_provider(text: &str) -> bool {
    match text.split('/').collect::<Vec<_>>().as_slice() {
        ["projects", number, "locations", location, "workloadIdentityPools", pool, "providers", provider] => {
            is_number(number) && [location, pool, provider].iter().all(|part| is_lower_of(part, "-"))
        }
        _ => false,
    }
}

/// A UUID with its hyphens.
pub(super) fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| {
            if matches!(at, 8 | 13 | 18 | 23) { byte == b'-' } else { byte.is_ascii_hexdigit() }
        })
}

/// The name of an Azure storage account.
pub(super) fn is_storage_account(text: &str) -> bool {
    (3..=24).contains(&text.len()) && is_lower_of(text, "")
}

/// An extension without its dot.
pub(super) fn is_file_type(text: &str) -> bool {
    is_of(text, "")
}

/// A name without control characters and without spaces around it.
pub(super) fn is_display_name(text: &str) -> bool {
    !text.is_empty() && text.trim() == text && !text.chars().any(|c| c.is_ascii_control())
}

/// An id as APIs print them.
pub(super) fn is_connector_id(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric()) && is_of(text, "._:-")
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// Letters, digits and what else is named; something of it.
fn is_of(text: &str, also: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || also.contains(c))
}

fn is_lower_of(text: &str, also: &str) -> bool {
    is_of(text, also) && !text.bytes().any(|b| b.is_ascii_uppercase())
}
