//! Every import points down, from the edge, where requests come in, to the ground floor, which
//! knows nothing about tokens. Imports within a folder do not form circles either.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests fail by panic"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The floors of the crate, from the ground up. A module may import only from the floors below it.
const FLOORS: &[&[&str]] = &[
    &[
        "bytes",
        "clock",
        "inline_list",
        "redis_node",
        "striped",
        "sync",
        "unwind",
        "telemetry",
        "unix_seconds",
    ],
    &["epoch", "json"],
    &["error"],
    &["text_form"],
    &["issuer"],
    &["fetch"],
    &["cache", "keys"],
    &["token"],
    // Verifies signed texts of every kind. Only access tokens become claims.
    &["attest"],
    &["introspection"],
    &["request", "response"],
    &["policy"],
    // Claims are made only of what the policy has validated.
    &["claims"],
    &["reports", "revocation", "scope"],
    &["binding", "reject"],
    &["verdicts"],
    &["verifier"],
    &["require"],
    &["admission"],
    &["future"],
    &["service"],
    &["extract", "grpc", "layer"],
    &["issue"],
    // These may import everything, and nothing imports them.
    &["checks", "guide", "test"],
];

#[test]
fn every_import_points_down() {
    let floors: BTreeMap<_, _> = FLOORS
        .iter()
        .enumerate()
        .flat_map(|(floor, rooms)| rooms.iter().map(move |room| (*room, floor)))
        .collect();
    let mut wrong = Vec::new();
    for (module, imports) in &imports() {
        let room = room(module);
        let floor = floors
            .get(room)
            .unwrap_or_else(|| panic!("{room} stands on no floor"));
        for import in imports {
            let other = self::room(import);
            // A name of the root, such as `crate::scope!`, is not a module.
            let Some(other_floor) = floors.get(other) else {
                continue;
            };
            if other != room && other_floor >= floor {
                wrong.push(format!("{module} imports {import}"));
            }
        }
    }
    assert!(wrong.is_empty(), "upwards:\n{}", wrong.join("\n"));
}

#[test]
fn no_file_imports_itself_through_others() {
    let imports = imports();
    let mut settled = BTreeSet::new();
    for module in imports.keys() {
        let mut path = Vec::new();
        walk(module, &imports, &mut settled, &mut path);
    }
    assert_eq!(settled.len(), imports.len());
}

#[test]
fn the_reader_of_imports_reads_every_form() {
    let text = "use std::fmt;\n\
        pub(crate) use crate::a::{self, b::{C, D}, e::F as G};\n\
        // use crate::comment::X;\n\
        /// [`X`](crate::documentation::X)\n\
        fn f() { crate::inline::g(); $crate::macros::h() }\n\
        #[cfg(test)]\nmod tests {\n    use crate::tests::Y;\n}\n";
    let found: Vec<_> = paths(text).into_iter().collect();
    let expected = ["a", "a::b::C", "a::b::D", "a::e::F", "inline::g"];
    assert_eq!(found, expected);
}

/// Follows the imports of a module, and fails if they lead back to it.
fn walk<'i>(
    module: &'i str,
    imports: &'i BTreeMap<String, BTreeSet<String>>,
    settled: &mut BTreeSet<&'i str>,
    path: &mut Vec<&'i str>,
) {
    if settled.contains(module) {
        return;
    }
    path.push(module);
    let begin = path.iter().position(|visited| *visited == module);
    assert_eq!(
        begin,
        Some(path.len() - 1),
        "a circle: {}",
        path.join(" -> ")
    );
    for import in &imports[module] {
        if import != module {
            walk(import, imports, settled, path);
        }
    }
    path.pop();
    settled.insert(module);
}

/// The imports of each file of `src`, as modules that have a file.
fn imports() -> BTreeMap<String, BTreeSet<String>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = BTreeMap::new();
    collect(&root, "", &mut files);
    assert!(files.len() > 60, "{} files", files.len());
    let module_of = |path: &str| {
        let mut path = path;
        while !files.contains_key(path) {
            path = path.rsplit_once("::")?.0;
        }
        Some(path.to_owned())
    };
    files
        .iter()
        .map(|(module, text)| {
            let found = paths(text)
                .iter()
                .filter_map(|path| module_of(path))
                .collect();
            (module.clone(), found)
        })
        .collect()
}

fn collect(folder: &Path, module: &str, files: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let inner = [module, &name].join(if module.is_empty() { "" } else { "::" });
        if name == "tests" {
            // The tests of a module may import everything.
        } else if path.is_dir() {
            collect(&path, &inner, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            // The root re-exports the public items.
            let inner = match name.as_str() {
                "lib" => continue,
                "mod" => module.to_owned(),
                _ => inner,
            };
            files.insert(inner, fs::read_to_string(&path).unwrap());
        }
    }
}

/// The paths that begin with `crate::` in the code of a file, without its tests.
fn paths(text: &str) -> BTreeSet<String> {
    let code = text.split("#[cfg(test)]\nmod ").next().unwrap();
    let code: String = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .flat_map(|line| [line, "\n"])
        .collect();
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let before = code[..at].chars().next_back();
        // A path in the output of a macro (`$crate::`) is imported where the macro is used.
        if !before.is_some_and(|before| before.is_alphanumeric() || "_$".contains(before)) {
            tree(&code[at + "crate::".len()..], "", &mut found);
        }
    }
    found
}

/// Reads one path and the paths in its braces. Returns the text after it.
fn tree<'t>(text: &'t str, prefix: &str, found: &mut BTreeSet<String>) -> &'t str {
    let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let end = text.find(|c| !is_path(c)).unwrap_or(text.len());
    let (path, mut rest) = text.split_at(end);
    let whole = format!("{prefix}{path}");
    if !rest.starts_with('{') {
        let whole = whole.trim_end_matches("::self").trim_end_matches(':');
        found.insert(whole.to_owned());
        return rest;
    }
    rest = &rest[1..];
    loop {
        rest = rest.trim_start_matches(|c: char| c == ',' || c.is_whitespace());
        if let Some(behind) = rest.strip_prefix('}') {
            return behind;
        }
        rest = tree(rest, &whole, found);
        if let Some(renamed) = rest.strip_prefix(" as ") {
            rest = renamed.trim_start_matches(is_path);
        }
    }
}

fn room(module: &str) -> &str {
    module.split("::").next().unwrap()
}
