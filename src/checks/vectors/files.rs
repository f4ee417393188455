//! Reads published vectors from the folder that an environment variable names.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// The folder that `TOWER_JWT_AUTH_VECTORS` names. If the variable is not set, prints that `test` is
/// skipped and returns `None`; with `TOWER_JWT_AUTH_REQUIRE=1` that is a failure.
pub(crate) fn folder(test: &str) -> Option<PathBuf> {
    let Some(folder) = std::env::var_os("TOWER_JWT_AUTH_VECTORS").filter(|name| !name.is_empty())
    else {
        let is_required = std::env::var_os("TOWER_JWT_AUTH_REQUIRE").is_some_and(|set| set == "1");
        assert!(
            !is_required,
            "{test}: TOWER_JWT_AUTH_VECTORS names no folder, and TOWER_JWT_AUTH_REQUIRE is 1"
        );
        say(&format!(
            "{test}: SKIPPED, because TOWER_JWT_AUTH_VECTORS names no folder of vectors"
        ));
        return None;
    };
    Some(folder.into())
}

/// Reads one JSON file of the folder. A missing file is always a failure.
pub(crate) fn read(folder: &Path, name: &str) -> Value {
    let path = folder.join(name);
    let text = std::fs::read(&path)
        .unwrap_or_else(|error| panic!("vectors in {}: {error}", path.display()));
    serde_json::from_slice(&text)
        .unwrap_or_else(|error| panic!("vectors in {}: {error}", path.display()))
}

/// The tests of a Wycheproof file, each with its group.
pub(crate) fn tests(file: &Value) -> impl Iterator<Item = (&Value, &Value)> {
    array(&file["testGroups"])
        .iter()
        .flat_map(|group| array(&group["tests"]).iter().map(move |test| (group, test)))
}

/// The key or key set of a Wycheproof group: the public key if it has one.
pub(crate) fn jwk_of(group: &Value) -> &Value {
    group.get("public").unwrap_or(&group["private"])
}

pub(crate) fn array(value: &Value) -> &[Value] {
    value
        .as_array()
        .unwrap_or_else(|| panic!("an array, not {value}"))
}

pub(crate) fn text(value: &Value) -> &str {
    value
        .as_str()
        .unwrap_or_else(|| panic!("a string, not {value}"))
}

/// Prints a line that the test harness does not capture.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
