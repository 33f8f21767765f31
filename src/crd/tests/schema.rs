//! The CRDs as they are installed: fresh, documented, bounded where a rule reads, and with the status that kstatus needs.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};

use crate::crd::{all, file_name, manifest};

/// The schema of each kind, with the kind's name.
fn schemas() -> Vec<(String, Value)> {
    let of = |crd: &k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition| {
        let schema = crd.spec.versions[0].schema.as_ref().unwrap().open_api_v3_schema.as_ref().unwrap();
        (crd.spec.names.kind.clone(), serde_json::to_value(schema).unwrap())
    };
    all().iter().map(of).collect()
}

/// Calls `visit` with every schema below `schema` and its path.
fn walk(path: &str, schema: &Value, visit: &mut impl FnMut(&str, &Value)) {
    visit(path, schema);
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        walk(&format!("{path}.{name}"), property, visit);
    }
    if schema["items"].is_object() {
        walk(&format!("{path}[]"), &schema["items"], visit);
    }
    if schema["additionalProperties"].is_object() {
        walk(&format!("{path}{{}}"), &schema["additionalProperties"], visit);
    }
}

#[test]
fn the_committed_manifests_are_what_the_code_generates() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("crds");
    let mut expected = BTreeSet::new();
    for crd in all() {
        let name = file_name(&crd);
        let committed = std::fs::read_to_string(folder.join(&name)).unwrap_or_default();
        assert!(committed == manifest(&crd).unwrap(), "crds/{name} is stale: run cargo xtask crds");
        expected.insert(name);
    }
    let there = std::fs::read_dir(&folder).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap());
    assert_eq!(
        there.collect::<BTreeSet<_>>(),
        expected,
        "crds/ holds what no kind belongs to: run cargo xtask crds"
    );
}

#[test]
fn an_untouched_object_is_not_current_to_kstatus() {
    for (kind, schema) in schemas() {
        assert_eq!(schema["properties"]["status"]["default"], json!({"observedGeneration": -1}), "{kind}");
        let status = &schema["properties"]["status"]["properties"];
        assert_eq!(status["observedGeneration"]["type"], "integer", "{kind}");
        assert_eq!(
            schema["properties"]["status"]["required"],
            Value::Null,
            "{kind}: the default has to be valid"
        );
    }
}

#[test]
fn every_field_says_what_it_is_for() {
    for (kind, schema) in schemas() {
        let mut fields = 0;
        for part in ["spec", "status"] {
            walk(&format!("{kind}.{part}"), &schema["properties"][part], &mut |path, schema| {
                if !path.ends_with("[]") && !path.ends_with("{}") {
                    let text = schema["description"].as_str().unwrap_or_default();
                    assert!(text.len() > 8 || path.ends_with(".status"), "{path} is not described: {text:?}");
                    fields += 1;
                }
            });
        }
        assert!(fields > 15, "{kind}: {fields}");
    }
}

#[test]
fn nothing_is_nullable_and_no_format_is_unknown_to_kubernetes() {
    let known = ["int32", "int64", "double", "date-time"];
    for (kind, schema) in schemas() {
        walk(&kind, &schema, &mut |path, schema| {
            assert_eq!(schema["nullable"], Value::Null, "{path}");
            if let Some(format) = schema["format"].as_str() {
                assert!(known.contains(&format), "{path}: {format}");
            }
        });
    }
}

#[test]
fn rules_have_messages_in_one_line_and_read_only_what_is_bounded() {
    let mut rules = 0;
    for (kind, schema) in schemas() {
        walk(&kind, &schema, &mut |path, schema| {
            for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
                let (text, message) = (rule["rule"].as_str().unwrap(), rule["message"].as_str().unwrap());
                assert!(!message.contains('\n') && message.len() > 20, "{path}: {message}");
                for read in paths(text) {
                    bounded(&format!("{path}: {}", read.join(".")), schema, &read);
                }
                rules += 1;
            }
        });
    }
    assert!(rules > 20, "{rules}");
}

/// What a rule reads: each `self.a.b` and `oldSelf.a.b`, without the first word.
fn paths(rule: &str) -> Vec<Vec<String>> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '_';
    // Neither what stands in quotes nor what is only asked for its presence, or for that of a key, is read.
    let mut outside = rule.split('\'').step_by(2).collect::<Vec<_>>().join(" ").replace(" in self)", ")");
    while let Some(asked) = outside.find("has(") {
        let end = outside[asked..].find(')').map_or(outside.len(), |end| asked + end + 1);
        outside.replace_range(asked..end, " ");
    }
    let tokens =
        outside.split(|c| !word(c)).map(|token| token.split('.').map(str::to_owned).collect::<Vec<_>>());
    tokens.filter(|path| path[0] == "self" || path[0] == "oldSelf").map(|path| path[1..].to_vec()).collect()
}

/// What is read is no longer than the API server can reckon with.
fn bounded(what: &str, schema: &Value, read: &[String]) {
    match read.split_first() {
        Some((first, rest)) if schema["properties"][first].is_object() => {
            bounded(what, &schema["properties"][first], rest);
        }
        // What follows is a method, and all that it reads is the value itself.
        Some((method, _)) => shallow(what, schema, ["all", "exists"].contains(&method.as_str())),
        None => whole(what, schema),
    }
}

fn shallow(what: &str, schema: &Value, each: bool) {
    match schema["type"].as_str() {
        Some("string") => assert!(text_is_bounded(schema), "{what} has no maxLength"),
        Some("array") => {
            assert!(schema["maxItems"].is_number(), "{what} has no maxItems");
            if each {
                whole(what, &schema["items"]);
            }
        }
        other => panic!("{what}: a method on {other:?}"),
    }
}

/// A value that is compared, or read in every part.
fn whole(what: &str, schema: &Value) {
    walk(what, schema, &mut |path, schema| match schema["type"].as_str() {
        Some("string") => assert!(text_is_bounded(schema), "{path} has no maxLength"),
        Some("array") => assert!(schema["maxItems"].is_number(), "{path} has no maxItems"),
        Some("object") => {
            assert!(!schema["additionalProperties"].is_object(), "{path} has any number of properties");
        }
        _ => {}
    });
}

fn text_is_bounded(schema: &Value) -> bool {
    schema["maxLength"].is_number() || schema["enum"].is_array() || schema["format"] == "date-time"
}

#[test]
fn the_check_for_bounds_finds_what_is_not_bounded() {
    let object = json!({"type": "object", "properties": {
        "open": {"type": "string"},
        "closed": {"type": "string", "maxLength": 3},
        "list": {"type": "array", "maxItems": 3, "items": {"type": "string"}},
    }});
    let caught = |rule: &str| {
        let check = || paths(rule).iter().for_each(|read| bounded(rule, &object, read));
        std::panic::catch_unwind(check).is_err()
    };
    assert!(caught("self.open == 'x'") && caught("self.open.matches('x')") && caught("self == oldSelf"));
    assert!(caught("self.list.all(t, t.matches('x'))"));
    assert!(!caught("!('key' in self)") && caught("!('key' in self) && self.open == 'x'"));
    assert!(!caught("self.closed == 'self.open'") && !caught("self.list.size() == 0 && has(self.open)"));
}
