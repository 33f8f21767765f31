//! docs/reference.md says what the CRDs in crds/ say: every field of every kind. `cargo xtask reference` writes it anew.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::root;
use crate::schema::{Field, fields, one_line, rules};

/// Set by `cargo xtask reference`: the file is written, and not only compared.
const WRITE: &str = "SLIMIO_WRITE_REFERENCE";

/// In the order in which a reader needs them.
const FILES: [&str; 5] = [
    "slim.io_clusterworkspaces.yaml",
    "slim.io_workspaces.yaml",
    "slim.io_connectors.yaml",
    "slim.io_scans.yaml",
    "slim.io_scanschedules.yaml",
];

const HEAD: &str = "\
# Reference

Every field of every kind in `slim.io/v1alpha1`, generated from [crds/](../crds) by `cargo xtask reference`: do not edit.
In a cluster, `kubectl explain connector.spec --recursive` says the same.

A path with `[]` in it is a field of a list's items. **Required** means: required where its parent is given.
`conditions` are Kubernetes' own: `type`, `status`, `reason`, `message`, `observedGeneration`, `lastTransitionTime`.
What each reason means is in [reasons.md](reasons.md).
";

#[test]
fn the_reference_says_what_the_crds_say() {
    let root = root();
    let (path, wanted) = (root.join("docs/reference.md"), render(&root.join("crds")));
    if std::env::var_os(WRITE).is_some() {
        fs::write(&path, wanted).unwrap();
        return;
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == wanted,
        "docs/reference.md is not what crds/ says; write it anew: cargo xtask reference"
    );
}

#[test]
fn every_crd_is_in_the_reference() {
    let mut found: Vec<String> = fs::read_dir(root().join("crds"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let mut listed = FILES.map(str::to_owned);
    found.sort();
    listed.sort();
    assert_eq!(found, listed, "name each file of crds/ in FILES");
}

#[test]
fn no_field_is_without_a_description() {
    for (name, crd) in crds(&root().join("crds")) {
        for field in fields(schema_of(&crd)) {
            assert!(!field.description.is_empty(), "{name}: {} says nothing", field.path);
        }
    }
}

fn render(folder: &Path) -> String {
    let mut text = HEAD.to_owned();
    for (_, crd) in crds(folder) {
        kind(&mut text, &crd);
    }
    text
}

fn kind(text: &mut String, crd: &Value) {
    let (spec, names) = (&crd["spec"], &crd["spec"]["names"]);
    let schema = schema_of(crd);
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    let words = |value: &Value| {
        let list: Vec<String> = value.as_array().into_iter().flatten().map(word).collect();
        list.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
    };
    let scope = if spec["scope"] == "Cluster" { "Cluster-scoped" } else { "Namespaced" };
    let short = match words(&names["shortNames"]) {
        none if none.is_empty() => String::new(),
        some => format!(", short name {some}"),
    };
    let _ = write!(
        text,
        "\n## {}\n\n{} {scope}; `{}`{short}, category {}.\n",
        word(&names["kind"]),
        one_line(&word(&schema["description"])),
        word(&names["plural"]),
        words(&names["categories"]),
    );
    let columns = |wide: bool| {
        let columns = spec["versions"][0]["additionalPrinterColumns"].as_array().into_iter().flatten();
        let names: Vec<String> = columns
            .filter(|column| (column["priority"].as_i64().unwrap_or(0) > 0) == wide)
            .map(|column| word(&column["name"]))
            .collect();
        names.join(", ")
    };
    let _ = match columns(true) {
        wide if wide.is_empty() => writeln!(text, "`kubectl get` shows: {}.", columns(false)),
        wide => writeln!(text, "`kubectl get` shows: {}; with `-o wide` also: {wide}.", columns(false)),
    };
    let transitions: Vec<String> =
        rules(schema).into_iter().chain(rules(&schema["properties"]["spec"])).collect();
    if !transitions.is_empty() {
        text.push_str("\nRefused, with these words:\n\n");
        for rule in transitions {
            let _ = writeln!(text, "- {rule}");
        }
    }
    let (spec, status): (Vec<Field>, Vec<Field>) =
        fields(schema).into_iter().partition(|field| field.path.starts_with("spec."));
    table(text, "Spec", &spec);
    table(text, "Status", &status);
}

fn table(text: &mut String, title: &str, fields: &[Field]) {
    let _ = write!(text, "\n### {title}\n\n| field | type | what |\n|---|---|---|\n");
    for Field { path, kind, description, bounds } in fields {
        let mut what = cell(&one_line(description));
        if !bounds.is_empty() {
            let _ = write!(what, "<br>{}", cell(&bounds.join("; ")));
        }
        let path = path.split_once('.').map_or(path.as_str(), |(_, path)| path);
        let _ = writeln!(text, "| `{path}` | {kind} | {what} |");
    }
}

/// A text that means the same in a table's cell: outside of code, `<name>` would be taken for HTML.
fn cell(text: &str) -> String {
    let parts = text.replace('|', "\\|");
    let escaped = |(place, part): (usize, &str)| {
        if place % 2 == 0 { part.replace('<', "&lt;") } else { part.to_owned() }
    };
    parts.split('`').enumerate().map(escaped).collect::<Vec<_>>().join("`")
}

fn crds(folder: &Path) -> Vec<(String, Value)> {
    let read = |name: &str| {
        let text = fs::read_to_string(folder.join(name)).unwrap();
        (name.to_owned(), serde_saphyr::from_str(&text).unwrap())
    };
    FILES.into_iter().map(read).collect()
}

fn schema_of(crd: &Value) -> &Value {
    &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
}
