//! The chart's README and its schema match the values, and the filter's documentation.

use std::collections::BTreeSet;

use logtracer_harness::envoy::root;
use serde_json::Value;

use super::{chart, render};
use crate::manifests::documents::read;

/// A value with a comment that starts with `# -- `.
struct Documented {
    key: String,
    comment: String,
}

/// Returns the documented keys of values.yaml.
fn documented() -> Vec<Documented> {
    let text = std::fs::read_to_string(chart().join("values.yaml")).unwrap();
    let (mut path, mut comment, mut all) = (Vec::<(usize, String)>::new(), None::<String>, Vec::new());
    for line in text.lines() {
        let trimmed = line.trim_start();
        let indent = line.len() - trimmed.len();
        if let Some(start) = trimmed.strip_prefix("# -- ") {
            comment = Some(start.to_owned());
        } else if let (Some(comment), Some(more)) = (&mut comment, trimmed.strip_prefix("# ")) {
            comment.push(' ');
            comment.push_str(more);
        } else if let Some((key, _)) = trimmed.split_once(':').filter(|_| !trimmed.starts_with(['#', '-'])) {
            path.retain(|(of, _)| *of < indent);
            path.push((indent, key.to_owned()));
            if let Some(comment) = comment.take() {
                let key = path.iter().map(|(_, key)| key.as_str()).collect::<Vec<_>>().join(".");
                all.push(Documented { key, comment });
            }
        }
    }
    all
}

/// The table has every value with its default and its comment.
#[test]
fn the_table_of_values_is_that_of_the_file() {
    let readme = std::fs::read_to_string(chart().join("README.md")).unwrap();
    let rows: Vec<&str> = readme.lines().filter(|line| line.starts_with("| `")).collect();
    let values = &read(&chart().join("values.yaml"))[0];
    let expected: Vec<String> = documented()
        .iter()
        .map(|Documented { key, comment }| {
            let value =
                values.pointer(&format!("/{}", key.replace('.', "/"))).unwrap_or_else(|| panic!("{key}"));
            format!("| `{key}` | `{value}` | {comment} |")
        })
        .collect();
    assert_eq!(rows, expected, "the rows of README.md must be\n{}\n", expected.join("\n"));
}

/// The values of the README are accepted, and leave nothing to warn about but the names of the example.
#[test]
fn the_values_of_the_readme_are_accepted() {
    let readme = std::fs::read_to_string(chart().join("README.md")).unwrap();
    let values = readme.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    let release = render(&[values]).remove(0).unwrap_or_else(|error| panic!("{values}: {error}"));
    assert_eq!(release.of(&["WasmPlugin"])[0]["spec"]["pluginConfig"]["sampling"]["rate"], 0.1);
}

#[test]
fn every_value_has_a_comment() {
    let documented: BTreeSet<String> = documented().into_iter().map(|it| it.key).collect();
    assert!(documented.len() > 60, "only {} values", documented.len());
    let mut open = vec![(String::new(), read(&chart().join("values.yaml")).remove(0))];
    while let Some((path, value)) = open.pop() {
        if documented.contains(&path) {
            continue;
        }
        let keys = value.as_object().filter(|keys| !keys.is_empty());
        let keys = keys.unwrap_or_else(|| panic!("{path} has no comment that starts with `# -- `"));
        let below = |key: &String| if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        open.extend(keys.iter().map(|(key, value)| (below(key), value.clone())));
    }
}

/// The schema has the keys of values.yaml, and no others but `global`, which Helm adds.
#[test]
fn the_schema_has_every_value() {
    let schema = schema();
    let values = &read(&chart().join("values.yaml"))[0];
    let mut open = vec![("values".to_owned(), &schema, values)];
    while let Some((path, schema, value)) = open.pop() {
        let Some(properties) = schema["properties"].as_object() else { continue };
        assert_eq!(schema["additionalProperties"], false, "{path}");
        let of_schema: BTreeSet<&str> =
            properties.keys().map(String::as_str).filter(|key| *key != "global").collect();
        let of_values: BTreeSet<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(of_schema, of_values, "{path}");
        open.extend(of_values.iter().map(|key| (format!("{path}.{key}"), &properties[*key], &value[*key])));
    }
}

/// The schema has the keys of the filter's documentation with their paths, and no others.
#[test]
fn the_schema_has_every_key_of_the_filter() {
    let page = std::fs::read_to_string(root().join("docs/configuration.md")).unwrap();
    let table = page.split("| key | default | meaning |").nth(1).unwrap().split("\n\n").next().unwrap();
    let mut documented = BTreeSet::new();
    for cell in table.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next()) {
        let Some(first) = cell.split('`').nth(1) else { continue };
        // The other names of a row are beside the first one.
        let section = first.rfind('.').map_or("", |dot| &first[..=dot]);
        documented.insert(first.to_owned());
        documented.extend(cell.split('`').skip(3).step_by(2).map(|name| format!("{section}{name}")));
    }
    let schema = schema();
    let mut known = BTreeSet::new();
    add_keys(&schema, &schema["definitions"]["filterConfig"], "", &mut known);
    let (of_overrides, known): (BTreeSet<String>, _) =
        known.into_iter().partition(|key| key.starts_with("overrides[]."));
    let is_of_override = |key: &&String| key.starts_with("overrides[].");
    let conditions: BTreeSet<String> = documented.iter().filter(is_of_override).cloned().collect();
    let mut of_table = documented;
    of_table.retain(|key| !key.starts_with("overrides[]."));
    // A section is not a row of its own.
    let rows: BTreeSet<String> = known.iter().filter(|key| !is_section(key, &known)).cloned().collect();
    assert_eq!(rows, of_table);

    // An override has the conditions, and every other key.
    let keys = known.iter().filter(|key| *key != "overrides").map(|key| format!("overrides[].{key}"));
    assert_eq!(of_overrides, conditions.into_iter().chain(keys).collect());
}

/// Returns true for an object that has keys of its own, unlike a list of objects.
fn is_section(key: &str, keys: &BTreeSet<String>) -> bool {
    keys.iter().any(|it| it.strip_prefix(key).is_some_and(|rest| rest.starts_with('.')))
}

/// Adds the paths of all keys of an object in the schema. A section is closed: it rejects other keys.
fn add_keys(schema: &Value, object: &Value, path: &str, keys: &mut BTreeSet<String>) {
    assert_eq!(object["additionalProperties"], false, "{path}");
    for (name, value) in object["properties"].as_object().unwrap() {
        let key = format!("{path}{name}");
        let value = resolved(schema, value);
        let items = resolved(schema, &value["items"]);
        if value["properties"].is_object() {
            add_keys(schema, value, &format!("{key}."), keys);
        } else if items["properties"].is_object() {
            add_keys(schema, items, &format!("{key}[]."), keys);
        } else {
            let has_type = ["type", "enum"].iter().any(|it| !value[it].is_null());
            assert!(has_type, "{key} can be anything");
        }
        keys.insert(key);
    }
}

/// Follows a reference inside the schema.
fn resolved<'a>(schema: &'a Value, value: &'a Value) -> &'a Value {
    value["$ref"].as_str().map_or(value, |path| schema.pointer(path.trim_start_matches('#')).unwrap())
}

fn schema() -> Value {
    let text = std::fs::read_to_string(chart().join("values.schema.json")).unwrap();
    let schema: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#");
    schema
}
