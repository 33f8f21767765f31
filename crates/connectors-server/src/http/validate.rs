//! A connector to be created, checked key by key. All problems are told at once, and no value of a secret.

use connectors_api::{Provider, SECRET_KEYS};
use serde_json::{Map, Value};

use super::error::ApiError;
use crate::store::NewConnector;

/// Longest name, in characters.
const NAME_MAX: usize = 256;

/// Most entries of a scope list.
const LIST_MAX: usize = 1000;

/// Keys of the scope, taken for every provider.
const SCOPE_KEYS: [&str; 3] = ["buckets", "prefixes", "file_types"];

/// A check of one text: what is wrong with it, if anything.
type Check = fn(&str) -> Option<&'static str>;

struct Key {
    name: &'static str,
    check: Check,
}

const fn key(name: &'static str, check: Check) -> Key {
    Key { name, check }
}

const AWS: [Key; 3] = [key("role_arn", role_arn), key("external_id", external_id), key("region", region)];
const GCP: [Key; 3] = [
    key("project_id", project_id),
    key("service_account_email", service_account),
    key("wif_provider", wif_provider),
];
const AZURE: [Key; 4] = [
    key("tenant_id", tenant_id),
    key("client_id", client_id),
    key("client_secret", client_secret),
    key("storage_account", storage_account),
];

/// Problems found so far: the field and a sentence about it.
#[derive(Default)]
struct Problems(Vec<(String, String)>);

impl Problems {
    fn add(&mut self, field: &str, message: impl AsRef<str>) {
        self.0.push((field.to_owned(), format!("{field} {}", message.as_ref())));
    }
}

/// Refuses keys outside of `known`, by name.
pub(super) fn no_unknown_keys(
    prefix: &str,
    map: &Map<String, Value>,
    known: &[&str],
) -> Result<(), ApiError> {
    let unknown: Vec<_> = map
        .keys()
        .filter(|k| !known.contains(&k.as_str()))
        .map(|k| {
            (
                format!("{prefix}{}", bounded(k)),
                format!("{prefix}{} is not known; known are {}", bounded(k), known.join(", ")),
            )
        })
        .collect();
    if unknown.is_empty() { Ok(()) } else { Err(ApiError::invalid_fields(unknown)) }
}

/// Turns the body of a create into a connector.
pub(super) fn connector(body: Map<String, Value>) -> Result<NewConnector, ApiError> {
    no_unknown_keys("", &body, &["name", "provider", "config"])?;
    let mut problems = Problems::default();
    let name = match body.get("name") {
        Some(Value::String(name)) => {
            if let Some(problem) = name_problem(name) {
                problems.add("name", problem);
            }
            name.clone()
        }
        Some(Value::Null) | None => {
            problems.add("name", "is required");
            String::new()
        }
        Some(_) => {
            problems.add("name", "must be a text");
            String::new()
        }
    };
    let provider = match body.get("provider") {
        Some(Value::String(word)) => provider(word).map_or_else(
            || {
                problems.add("provider", format!("must be one of {}", Provider::WORDS.join(", ")));
                None
            },
            Some,
        ),
        Some(Value::Null) | None => {
            problems.add("provider", "is required");
            None
        }
        Some(_) => {
            problems.add("provider", "must be a text");
            None
        }
    };
    let config = match body.get("config") {
        Some(Value::Object(config)) => config.clone(),
        Some(Value::Null) | None => {
            problems.add("config", "is required");
            Map::new()
        }
        Some(_) => {
            problems.add("config", "must be an object");
            Map::new()
        }
    };
    let Some((provider, keys)) = provider.filter(|_| body.get("config").is_some_and(Value::is_object)) else {
        return Err(ApiError::invalid_fields(problems.0));
    };
    check_config(&mut problems, provider, keys, &config);
    if !problems.0.is_empty() {
        return Err(ApiError::invalid_fields(problems.0));
    }
    // `null` says nothing, so it is kept as nothing.
    let (secrets, config) = config
        .into_iter()
        .filter(|(_, value)| !value.is_null())
        .partition(|(key, _)| SECRET_KEYS.contains(&key.as_str()));
    Ok(NewConnector { name, provider, config, secrets })
}

fn provider(word: &str) -> Option<(&'static str, &'static [Key])> {
    match word {
        "aws" => Some(("aws", &AWS)),
        "gcp" => Some(("gcp", &GCP)),
        "azure" => Some(("azure", &AZURE)),
        _ => None,
    }
}

fn check_config(problems: &mut Problems, provider: &str, keys: &[Key], config: &Map<String, Value>) {
    for unknown in
        config.keys().filter(|k| !keys.iter().any(|key| key.name == *k) && !SCOPE_KEYS.contains(&k.as_str()))
    {
        let known: Vec<_> = keys.iter().map(|k| k.name).chain(SCOPE_KEYS).collect();
        let field = format!("config.{}", bounded(unknown));
        problems.add(&field, format!("is not known for provider {provider}; known are {}", known.join(", ")));
    }
    for Key { name, check } in keys {
        let field = format!("config.{name}");
        match config.get(*name) {
            None | Some(Value::Null) => problems.add(&field, "is required"),
            Some(Value::String(text)) => {
                if let Some(problem) = check(text) {
                    problems.add(&field, problem);
                }
            }
            Some(_) => problems.add(&field, "must be a text"),
        }
    }
    let bucket: Check = if provider == "aws" { s3_bucket } else { bucket };
    for (name, check) in [("buckets", bucket), ("prefixes", prefix as Check), ("file_types", file_type)] {
        check_list(problems, name, config.get(name), check);
    }
    partition_matches(problems, config);
}

fn check_list(problems: &mut Problems, name: &str, list: Option<&Value>, check: Check) {
    let field = format!("config.{name}");
    match list {
        None | Some(Value::Null) => {}
        Some(Value::Array(items)) if items.len() > LIST_MAX => {
            problems.add(&field, format!("must have at most {LIST_MAX} entries"));
        }
        Some(Value::Array(items)) => {
            for (index, item) in items.iter().enumerate() {
                let field = format!("{field}[{index}]");
                match item.as_str() {
                    None => problems.add(&field, "must be a text"),
                    Some(text) => {
                        if let Some(problem) = check(text) {
                            problems.add(&field, problem);
                        }
                    }
                }
            }
        }
        Some(_) => problems.add(&field, "must be a list of texts"),
    }
}

/// A role of one partition cannot be taken in a region of another.
fn partition_matches(problems: &mut Problems, config: &Map<String, Value>) {
    let text = |key: &str| config.get(key).and_then(Value::as_str);
    let (Some(arn), Some(region)) = (text("role_arn"), text("region")) else { return };
    let of_role = arn.split(':').nth(1).unwrap_or_default();
    let of_region = match region {
        r if r.starts_with("cn-") => "aws-cn",
        r if r.starts_with("us-gov-") => "aws-us-gov",
        _ => "aws",
    };
    if ["aws", "aws-cn", "aws-us-gov"].contains(&of_role) && of_role != of_region {
        problems
            .add("config.region", format!("lies in the partition {of_region}, but the role in {of_role}"));
    }
}

fn name_problem(name: &str) -> Option<&'static str> {
    let length = name.chars().count();
    if length == 0 || name.trim().is_empty() {
        Some("must not be empty")
    } else if length > NAME_MAX {
        Some("must have at most 256 characters")
    } else if name.chars().any(char::is_control) {
        Some("must not hold control characters")
    } else {
        None
    }
}

fn role_arn(text: &str) -> Option<&'static str> {
    const PROBLEM: &str = "must be the ARN of an IAM role: arn:aws:iam::<12 digits>:role/<name> \
                           (aws-cn and aws-us-gov are partitions too, and a path may stand before the name)";
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let ["arn", "aws" | "aws-cn" | "aws-us-gov", "iam", "", account, role] = parts[..] else {
        return Some(PROBLEM);
    };
    let account_good = account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit());
    let path_good = role.strip_prefix("role/").is_some_and(|path| {
        path.len() <= 512
            && path.split('/').all(|part| {
                (1..=64).contains(&part.len())
                    && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"_+=,.@-".contains(&b))
            })
    });
    (!account_good || !path_good).then_some(PROBLEM)
}

fn external_id(text: &str) -> Option<&'static str> {
    if text.trim().is_empty() {
        return Some("must not be empty: without it anybody who knows the role's name could have it read");
    }
    let good = (2..=1224).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_+=,.@:/-".contains(&b));
    (!good).then_some("must have 2 to 1224 letters, digits or characters of _+=,.@:/-")
}

fn region(text: &str) -> Option<&'static str> {
    let mut parts: Vec<&str> = text.split('-').collect();
    let number = parts.pop().unwrap_or_default();
    let good = (2..=4).contains(&parts.len())
        && (1..=2).contains(&number.len())
        && number.bytes().all(|b| b.is_ascii_digit())
        && parts.iter().all(|p| (2..=12).contains(&p.len()) && p.bytes().all(|b| b.is_ascii_lowercase()));
    (!good).then_some("must be an AWS region such as eu-west-1")
}

fn project_id(text: &str) -> Option<&'static str> {
    // Projects of some organisations have their domain before them.
    let id = text.rsplit_once(':').map_or(text, |(_, id)| id);
    let good = (6..=30).contains(&id.len())
        && id.starts_with(|c: char| c.is_ascii_lowercase())
        && !id.ends_with('-')
        && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    (!good).then_some(
        "must be a project id (6 to 30 lower-case letters, digits and dashes), not its number or name",
    )
}

fn service_account(text: &str) -> Option<&'static str> {
    let good = text.len() <= 254
        && text.split_once('@').is_some_and(|(name, domain)| {
            !name.is_empty()
                && domain.ends_with(".gserviceaccount.com")
                && !text.contains(char::is_whitespace)
        });
    (!good).then_some("must be the e-mail of a service account: <name>@<project>.iam.gserviceaccount.com")
}

fn wif_provider(text: &str) -> Option<&'static str> {
    let parts: Vec<&str> = text.split('/').collect();
    let good = match parts[..] {
        ["projects", number, "locations", "global", "workloadIdentityPools", pool, "providers", provider] => {
            let id = |s: &str| {
                (4..=32).contains(&s.len())
                    && s.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            };
            !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) && id(pool) && id(provider)
        }
        _ => false,
    };
    (!good).then_some(
        "must be projects/<project number>/locations/global/workloadIdentityPools/<pool>/providers/<provider>",
    )
}

fn tenant_id(text: &str) -> Option<&'static str> {
    let domain = text.contains('.')
        && text.len() <= 253
        && text
            .split('.')
            .all(|label| !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'));
    (!is_uuid(text) && !domain).then_some("must be the tenant's UUID or its domain")
}

fn client_id(text: &str) -> Option<&'static str> {
    (!is_uuid(text)).then_some("must be the UUID of the app registration")
}

fn client_secret(text: &str) -> Option<&'static str> {
    if text.trim().is_empty() {
        Some("must not be empty")
    } else if text.len() > 1024 || text.chars().any(char::is_control) {
        Some("must have at most 1024 characters and no line breaks")
    } else {
        None
    }
}

fn storage_account(text: &str) -> Option<&'static str> {
    let good =
        (3..=24).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    (!good).then_some("must have 3 to 24 lower-case letters and digits")
}

fn s3_bucket(text: &str) -> Option<&'static str> {
    let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let good = (3..=63).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.')
        && edge(text.bytes().next())
        && edge(text.bytes().last())
        && !text.contains("..");
    (!good).then_some("must be a bucket name: 3 to 63 lower-case letters, digits, dashes and dots")
}

fn bucket(text: &str) -> Option<&'static str> {
    let good = (3..=222).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._$".contains(&b));
    (!good).then_some("must be the name of a bucket or container")
}

fn prefix(text: &str) -> Option<&'static str> {
    if !text.ends_with('/') {
        Some("must end with \"/\"")
    } else if text.starts_with('/') || text.contains("//") {
        Some("must not begin with \"/\" or hold \"//\"")
    } else if text.len() > 1024 || text.chars().any(char::is_control) {
        Some("must have at most 1024 bytes and no control characters")
    } else {
        None
    }
}

fn file_type(text: &str) -> Option<&'static str> {
    let good = (1..=32).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    (!good).then_some("must be an extension without the dot, such as csv")
}

fn is_uuid(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    parts.iter().map(|p| p.len()).eq([8, 4, 4, 4, 12])
        && parts.iter().all(|p| p.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// A key as a message may repeat it.
fn bounded(key: &str) -> String {
    key.chars().filter(|c| !c.is_control()).take(64).collect()
}

#[cfg(test)]
mod tests;
