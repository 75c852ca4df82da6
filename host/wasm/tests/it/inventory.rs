//! No misdeed without a test.

use crate::support::dist;
use std::{collections::BTreeSet, fs, path::Path};

const TESTS: [&str; 14] = [
    include_str!("conduct.rs"),
    include_str!("hostile.rs"),
    include_str!("limits.rs"),
    include_str!("loading.rs"),
    include_str!("misdeeds.rs"),
    include_str!("network.rs"),
    include_str!("polyglot.rs"),
    include_str!("readme.rs"),
    include_str!("reuse.rs"),
    include_str!("rights.rs"),
    include_str!("travels.rs"),
    include_str!("validating.rs"),
    include_str!("wasi_http.rs"),
    include_str!("wasi_sockets.rs"),
];

fn names(folder: &Path, extension: &str) -> BTreeSet<String> {
    let files = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    files
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect()
}

#[test]
fn every_fixture_is_built_and_has_a_test() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/fixtures");
    let sources: BTreeSet<String> = [("examples", "rs"), ("polyglot", "js"), ("polyglot", "py")]
        .into_iter()
        .flat_map(|(folder, extension)| {
            let found = names(&fixtures.join(folder), extension);
            assert!(!found.is_empty(), "{folder}: no .{extension}");
            found
        })
        .collect();
    let built = names(&dist().join("fixtures"), "wasm");
    let missing: Vec<_> = sources.difference(&built).collect();
    assert!(
        missing.is_empty(),
        "not built, run `just build-plugins`: {missing:?}"
    );
    let untested: Vec<_> = sources
        .iter()
        .filter(|name| !TESTS.iter().any(|test| test.contains(&format!("\"{name}\""))))
        .collect();
    assert!(untested.is_empty(), "no test names these fixtures: {untested:?}");
}
