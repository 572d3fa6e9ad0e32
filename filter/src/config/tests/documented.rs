//! `docs/configuration.md` documents every key and its default.

use super::*;

/// The rows of the reference: the keys, and their default.
fn documented() -> Vec<(Vec<String>, &'static str)> {
    let rows =
        include_str!("../../../../docs/configuration.md").lines().filter(|line| line.starts_with("| `"));
    let row = |line: &'static str| {
        // A bar inside a cell is escaped.
        let mut cells = line.trim_matches('|').split(" | ").map(str::trim);
        let (keys, default) = (cells.next().unwrap(), cells.next().unwrap());
        let mut keys: Vec<String> = keys.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        let section = keys[0].rsplit_once('.').map(|(section, _)| format!("{section}."));
        for key in keys.iter_mut().skip(1) {
            key.insert_str(0, section.as_deref().unwrap_or_default());
        }
        (keys, default)
    };
    rows.map(row).collect()
}

#[test]
fn exactly_the_known_keys_are_documented() {
    let mut documented: Vec<String> = documented().into_iter().flat_map(|(keys, _)| keys).collect();
    let sections: [(&str, &[&str]); 7] = [
        ("", &Config::KEYS),
        ("propagation.", &Propagation::KEYS),
        ("sampling.", &Sampling::KEYS),
        ("sampling.rules[].", &Sampling::RULE_KEYS),
        ("exclude.", &Exclude::KEYS),
        ("exporter.", &Exporter::KEYS),
        ("overrides[].", &Override::CONDITIONS),
    ];
    // The document has the keys of a section, not the section.
    let is_section = |key: &String| sections.iter().any(|(section, _)| *section == format!("{key}."));
    let mut known: Vec<String> = sections
        .iter()
        .flat_map(|(section, keys)| keys.iter().map(move |key| format!("{section}{key}")))
        .filter(|key| !is_section(key))
        .collect();
    documented.sort_unstable();
    known.sort_unstable();
    assert_eq!(documented, known);
}

/// A configuration with every documented default is the default.
#[test]
fn documented_defaults_are_the_defaults() {
    let mut written = serde_json::json!({ "exporter": { "cluster": "c" } });
    let mut values = 0;
    for (keys, default) in documented() {
        // A default that is not a literal is described in words.
        let Some(literal) = default.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')) else {
            continue;
        };
        let value = serde_json::from_str(literal).unwrap_or_else(|_| literal.into());
        written[keys[0].split('.').next().unwrap()] = match keys[0].split_once('.') {
            None => value,
            Some((section, key)) => {
                let mut object = written[section].clone();
                object[key] = value;
                object
            }
        };
        values += 1;
    }
    assert!(values >= 18, "{values}");
    let bare = Config::parse(br#"{"exporter": {"cluster": "c"}}"#).unwrap();
    assert_eq!(Config::parse(written.to_string().as_bytes()).unwrap(), bare);
    assert_eq!(Config { exporter: None, ..bare }, Config::default());
}
