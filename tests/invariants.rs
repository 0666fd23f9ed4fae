//! What the rooms of the code may not touch, checked on the sources.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    files(folder, "rs")
}

/// Files of this extension and what is in them.
fn files(folder: &str, extension: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    collect(&root().join(folder), extension, &mut found);
    assert!(!found.is_empty(), "{folder} has no .{extension}");
    found
}

fn collect(folder: &Path, wanted: &str, found: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, wanted, found);
        } else if path.extension().is_some_and(|extension| extension == wanted) {
            let text = fs::read_to_string(&path).expect("a source");
            found.push((path, text));
        }
    }
}

/// No source below `folder` has any of the words outside its comments.
#[track_caller]
fn never(folder: &str, words: &[&str]) {
    expect_none(sources(folder), words);
}

/// None of these sources has any of the words outside its comments.
#[track_caller]
fn expect_none(sources: impl IntoIterator<Item = (PathBuf, String)>, words: &[&str]) {
    for (path, text) in sources {
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            for word in words {
                assert!(
                    !code.contains(word),
                    "{}:{}: {word} does not belong here",
                    path.display(),
                    number + 1
                );
            }
        }
    }
}

#[test]
fn imaging_is_pure() {
    never("imaging/src", &["tokio", "sqlx", "axum", "std::fs", "unsafe "]);
}

#[test]
fn the_domain_does_nothing_but_decide() {
    never("shared/src/domain", &["sqlx", "axum", "tokio", "async ", "std::fs", "std::net"]);
}

#[test]
fn sql_stands_in_one_place() {
    for folder in ["api/src", "worker/src", "src"] {
        never(folder, &["sqlx::query", "SELECT ", "INSERT INTO", "UPDATE ", "DELETE FROM"]);
    }
    never("shared/src/storage", &["sqlx", "SELECT "]);
}

#[test]
fn the_database_room_decides_nothing_and_knows_no_http() {
    never("shared/src/db", &["axum", "http::", "StatusCode", "Clock"]);
}

/// One module names all metrics, so no other place makes up one.
#[test]
fn metrics_have_one_place_and_some_rooms_know_none() {
    for folder in ["imaging/src", "shared/src/db", "shared/src/domain", "shared/src/postgres"] {
        never(folder, &["metrics"]);
    }
    let place = root().join("shared/src/metrics");
    for folder in ["api/src", "worker/src", "shared/src", "src"] {
        let others = sources(folder).into_iter().filter(|(path, _)| !path.starts_with(&place));
        expect_none(others, &["counter!", "gauge!", "histogram!", "register_"]);
    }
}

#[test]
fn services_know_no_http() {
    never("shared/src/services", &["axum", "http::", "StatusCode"]);
}

#[test]
fn the_worker_knows_no_http_and_the_api_no_worker() {
    never("worker/src", &["axum", "http::"]);
    never("api/src", &["worker::", "apalis"]);
}

#[test]
fn handlers_and_pages_write_through_services_only() {
    for verb in ["insert(", "update(", "delete(", "rename(", "claim(", "set_", "mark_", "enqueue("]
    {
        for (path, text) in
            ["api/src/handlers", "api/src/pages"].iter().flat_map(|folder| sources(folder))
        {
            let call = text.lines().find(|line| line.contains("db::") && line.contains(verb));
            assert!(call.is_none(), "{}: {call:?}", path.display());
        }
    }
}

#[test]
fn a_process_is_wired_in_one_place() {
    let place = root().join("src/service.rs");
    // spelled in two parts, so that this file does not break its own rule
    let literals = ["Api", "Worker"].map(|part| format!(" {part} {{"));
    for (path, text) in ["src", "tests", "benches"].iter().flat_map(|folder| sources(folder)) {
        if path != place {
            let literal =
                text.lines().find(|line| literals.iter().any(|literal| line.contains(literal)));
            assert!(
                literal.is_none(),
                "{}: {literal:?} belongs into src/service.rs",
                path.display()
            );
        }
    }
}

/// A model that called the code would repeat its faults.
#[test]
fn the_model_stands_alone() {
    never("models", &["api::", "imaging::", "pictier::", "shared::", "sqlx", "tokio", "worker::"]);
}

/// It has to act between fork and exec, and prepares the queries of `shared` before that compiles.
#[test]
fn unsafe_code_stands_in_one_room_that_knows_no_other() {
    let room = "src/embedded_postgres";
    for folder in ["api/src", "worker/src", "shared/src", "imaging/src", "src"] {
        let others =
            sources(folder).into_iter().filter(|(path, _)| !path.starts_with(root().join(room)));
        expect_none(others, &["unsafe "]);
    }
    never(room, &["api::", "imaging::", "pictier::", "shared::", "worker::"]);
    let manifest = fs::read_to_string(root().join(room).join("Cargo.toml")).expect("a manifest");
    for other in ["api", "imaging", "pictier", "shared", "worker"] {
        let is_used = manifest.lines().any(|line| {
            line.starts_with(&format!("{other}.")) || line.starts_with(&format!("{other} "))
        });
        assert!(!is_used, "{room} depends on {other}");
    }
}

/// Templates escape everything, and nothing that runs stands in them: the pages' policy would not
/// run it.
#[test]
fn templates_escape_everything_and_hold_no_scripts_and_no_styles() {
    for (path, text) in files("api/templates", "html") {
        for word in [
            "|safe",
            "| safe",
            "{% filter",
            "{% raw",
            "<script>",
            "<style",
            " style=",
            " onclick=",
            "javascript:",
        ] {
            assert!(!text.contains(word), "{}: {word} does not belong here", path.display());
        }
    }
}

#[test]
fn files_and_functions_stay_small() {
    for folder in ["api/src", "worker/src", "shared/src", "imaging/src", "models", "src", "tests"] {
        for (path, text) in sources(folder) {
            assert!(text.lines().count() <= 400, "{} has more than 400 lines", path.display());
        }
    }
}

#[test]
fn lints_are_expected_with_a_reason_and_never_allowed() {
    // spelled in two parts, so that this file does not break its own rule
    let forbidden = ["allow", "ignore"].map(|attribute| format!("#[{attribute}"));
    let forbidden: Vec<_> = forbidden.iter().map(String::as_str).collect();
    for folder in [
        "api/src",
        "worker/src",
        "shared/src",
        "imaging/src",
        "imaging/tests",
        "models",
        "src",
        "tests",
    ] {
        never(folder, &forbidden);
    }
}

/// Of two files that need each other, neither can be read, moved or tested without the other. A
/// module and its child are one thing in two files.
#[test]
fn no_two_files_import_from_each_other() {
    for folder in ["api/src", "worker/src", "shared/src", "src"] {
        let sources = sources(folder);
        let files: HashMap<Vec<String>, &str> = sources
            .iter()
            .map(|(path, text)| {
                (module(path.strip_prefix(root().join(folder)).expect("below")), text.as_str())
            })
            .collect();
        let imports = |file: &Vec<String>| -> Vec<Vec<String>> {
            let is_file = |path: &Vec<String>| files.contains_key(path);
            let imported = used(files[file]).into_iter().map(|path| absolute(file, &path));
            imported
                .filter_map(|mut path| {
                    while !path.is_empty() && !is_file(&path) {
                        path.pop();
                    }
                    (!path.is_empty()).then_some(path)
                })
                .collect()
        };
        for file in files.keys() {
            for other in imports(file) {
                let is_mutual = !other.starts_with(file)
                    && !file.starts_with(&other)
                    && imports(&other).contains(file);
                assert!(
                    !is_mutual,
                    "{folder}: {} and {} import from each other",
                    file.join("::"),
                    other.join("::")
                );
            }
        }
    }
}

/// The module that a file of a crate is.
fn module(path: &Path) -> Vec<String> {
    let names = path.with_extension("");
    let names = names.iter().map(|name| name.to_string_lossy().into_owned());
    names.filter(|name| !["lib", "main", "mod"].contains(&name.as_str())).collect()
}

/// The paths that the `use` declarations of a source name, apart from those of its unit tests.
fn used(text: &str) -> Vec<String> {
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    let mut paths = Vec::new();
    for part in code.split("use ").skip(1) {
        let (mut groups, mut path) = (vec![String::new()], String::new());
        for sign in part.split(';').next().unwrap_or_default().chars() {
            match sign {
                '{' => groups.push(path.clone()),
                ',' | '}' => {
                    paths.push(path);
                    if sign == '}' {
                        groups.pop();
                    }
                    path = groups.last().cloned().unwrap_or_default();
                }
                sign if sign.is_whitespace() => {}
                sign => path.push(sign),
            }
        }
        paths.push(path);
    }
    paths
}

/// A path of a `use` declaration from the crate's root on; nothing where it leads to another crate.
fn absolute(file: &[String], path: &str) -> Vec<String> {
    let names: Vec<&str> = path.split("::").collect();
    let ups = names.iter().take_while(|name| **name == "super").count();
    let base = match names[0] {
        "crate" => &[],
        "self" => file,
        "super" => &file[..file.len().saturating_sub(ups)],
        _ => return Vec::new(),
    };
    let rest = names.iter().skip(ups.max(1)).map(|name| (*name).to_owned());
    base.iter().cloned().chain(rest).collect()
}

/// Dependencies that no source names, and why they are there.
const UNNAMED: [(&str, &str); 2] = [
    // they choose TLS without a C library for object_store
    ("shared", "reqwest"),
    ("shared", "rustls"),
];

#[test]
fn every_dependency_is_used() {
    for package in [".", "api", "imaging", "models", "shared", "src/embedded_postgres", "worker"] {
        let manifest =
            fs::read_to_string(root().join(package).join("Cargo.toml")).expect("a manifest");
        // a package without a folder for its sources is one
        let code: String = ["src", "tests", "benches", "examples"]
            .map(|folder| format!("{package}/{folder}"))
            .into_iter()
            .chain((package == "src/embedded_postgres").then(|| package.to_owned()))
            .filter(|folder| root().join(folder).exists())
            .flat_map(|folder| sources(&folder))
            .map(|(_, text)| text)
            .collect();
        let mut is_dependency = false;
        for line in manifest.lines() {
            if line.starts_with('[') {
                is_dependency = line.ends_with("dependencies]") && !line.starts_with("[workspace");
            } else if let Some((name, _)) = line.split_once(['.', ' '])
                && is_dependency
                && !name.starts_with('#')
                && !UNNAMED.contains(&(package, name))
            {
                // the only package whose library has another name
                let library = if name == "kamadak-exif" { "exif" } else { name }.replace('-', "_");
                assert!(
                    code.contains(&format!("{library}::")) || code.contains(&format!("{library};")),
                    "{package} does not use {name}"
                );
            }
        }
    }
}
