//! A CRD's schema as a flat list of fields, in alphabetical order, as `kubectl explain` shows them.

use serde_json::Value;

/// One field.
pub(crate) struct Field {
    /// From the root on, as in `spec.aws.roleArn`.
    pub(crate) path: String,
    /// `string`, `[]object`, …
    pub(crate) kind: String,
    /// What the schema says of it.
    pub(crate) description: String,
    /// Required, default, values, ranges and rules: what a value has to be.
    pub(crate) bounds: Vec<String>,
}

/// Every field below `spec` and `status`. Not those of a condition, which Kubernetes describes.
pub(crate) fn fields(schema: &Value) -> Vec<Field> {
    let mut all = Vec::new();
    for part in ["spec", "status"] {
        below(&schema["properties"][part], part, &mut all);
    }
    all
}

/// What a schema's own rules say when they refuse.
pub(crate) fn rules(schema: &Value) -> Vec<String> {
    let rules = schema["x-kubernetes-validations"].as_array().into_iter().flatten();
    rules.map(|rule| one_line(rule["message"].as_str().unwrap())).collect()
}

/// A text without its line breaks.
pub(crate) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn below(parent: &Value, path: &str, all: &mut Vec<Field>) {
    let Some(properties) = parent["properties"].as_object() else { return };
    // Whether a map keeps the order of its file is a feature that another crate may switch on.
    let mut names: Vec<&String> = properties.keys().collect();
    names.sort();
    let required = |name: &str| {
        parent["required"].as_array().is_some_and(|required| required.iter().any(|other| other == name))
    };
    for name in names {
        let schema = &properties[name];
        let path = format!("{path}.{name}");
        all.push(Field {
            kind: kind(schema),
            description: schema["description"].as_str().unwrap_or_default().to_owned(),
            bounds: bounds(schema, required(name)),
            path: path.clone(),
        });
        if name != "conditions" {
            below(schema, &path, all);
            below(&schema["items"], &format!("{path}[]"), all);
        }
    }
}

fn kind(schema: &Value) -> String {
    let word = schema["type"].as_str().unwrap_or("any");
    match (word, schema["format"].as_str()) {
        ("array", _) => format!("[]{}", kind(&schema["items"])),
        ("object", _) if schema["additionalProperties"].is_object() => {
            format!("map of {}", kind(&schema["additionalProperties"]))
        }
        ("string", Some("date-time")) => "time".to_owned(),
        (word, _) => word.to_owned(),
    }
}

fn bounds(schema: &Value, required: bool) -> Vec<String> {
    let mut bounds = Vec::new();
    if required {
        bounds.push("**required**".to_owned());
    }
    // Objects have defaults so that those of their fields come in.
    if !schema["default"].is_null() && !schema["default"].is_object() {
        bounds.push(format!("default `{}`", plain(&schema["default"])));
    }
    if let Some(values) = schema["enum"].as_array() {
        let values: Vec<String> = values.iter().map(|value| format!("`{}`", plain(value))).collect();
        bounds.push(format!("one of {}", values.join(", ")));
    }
    let items = &schema["items"];
    bounds.extend(range(&schema["minimum"], &schema["maximum"], ""));
    bounds.extend(range(&schema["minLength"], &schema["maxLength"], " characters"));
    bounds.extend(range(&schema["minItems"], &schema["maxItems"], " items"));
    bounds.extend(range(&items["minLength"], &items["maxLength"], " characters each"));
    bounds.extend(rules(schema));
    bounds
}

fn range(from: &Value, to: &Value, of: &str) -> Option<String> {
    let number = |value: &Value| value.as_f64().map(|value| value.to_string());
    match (number(from), number(to)) {
        (Some(from), Some(to)) => Some(format!("{from} to {to}{of}")),
        (Some(from), None) => Some(format!("at least {from}{of}")),
        (None, Some(to)) => Some(format!("at most {to}{of}")),
        (None, None) => None,
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
