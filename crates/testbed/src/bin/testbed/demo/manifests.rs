//! The manifests of `deploy/examples`, with the values that exist only once everything runs.

use std::path::{Path, PathBuf};

/// What the placeholders stand for.
#[derive(Debug)]
pub(super) struct Values<'a> {
    pub(super) endpoint: &'a str,
    pub(super) api_key: &'a str,
    pub(super) external_id: &'a str,
}

/// The files of a folder in the order of their names, filled in.
pub(super) fn filled(folder: &Path, values: &Values<'_>) -> Result<Vec<(PathBuf, String)>, String> {
    let entries = std::fs::read_dir(folder).map_err(|error| format!("read {}: {error}", folder.display()))?;
    let mut paths: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    paths.sort();
    if paths.is_empty() {
        return Err(format!("no manifests in {}", folder.display()));
    }
    paths
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(&path)
                .map_err(|error| format!("read {}: {error}", path.display()))?;
            let text = fill(&text, values).map_err(|error| format!("{}: {error}", path.display()))?;
            Ok((path, text))
        })
        .collect()
}

fn fill(text: &str, values: &Values<'_>) -> Result<String, String> {
    // Only what is applied: a comment may speak of a placeholder.
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let filled = lines
        .collect::<Vec<_>>()
        .join("\n")
        .replace("${CONNECTORS_ENDPOINT}", values.endpoint)
        .replace("${CONNECTORS_API_KEY}", values.api_key)
        .replace("${SCANNER_EXTERNAL_ID}", values.external_id);
    match filled.split_once("${") {
        None => Ok(filled),
        Some((_, rest)) => {
            Err(format!("nothing is known for ${{{}}}", rest.split('}').next().unwrap_or_default()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUES: Values<'_> = Values { endpoint: "http://127.0.0.1:1", api_key: "key", external_id: "id" };

    #[test]
    fn every_placeholder_of_the_examples_is_known() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/examples");
        let all: String = filled(&folder, &VALUES).unwrap().into_iter().map(|(_, text)| text).collect();
        assert!(all.contains("endpoint: \"http://127.0.0.1:1\""), "{all}");
        assert!(all.contains("apiKey: \"key\"") && all.contains("externalId: \"id\""), "{all}");
    }

    #[test]
    fn an_unknown_placeholder_is_named() {
        assert_eq!(fill("a: ${WHAT_IS_THIS}", &VALUES).unwrap_err(), "nothing is known for ${WHAT_IS_THIS}");
        assert_eq!(fill("# about ${WHAT_IS_THIS}\na: 1", &VALUES).unwrap(), "a: 1");
    }
}
