//! Beginning a plugin, in every language: what docs/writing-plugins.md tells a reader to type is typed here.

mod bindings;
mod examples;
mod scripts;
mod slips;
mod tcp;
mod validating;
mod withheld;

use crate::support::{process::say, targets};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// Where `lapwing plugin build` keeps its tools in tests and recipes: installed once, for all of them.
pub(crate) fn tools() -> PathBuf {
    target().join("lapwing-tools")
}

fn target() -> PathBuf {
    let profile = Path::new(env!("CARGO_BIN_EXE_lapwing")).parent().unwrap();
    profile.parent().unwrap().to_owned()
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The fenced blocks under a heading of the page, with their languages.
fn blocks(heading: &str) -> Vec<(String, String)> {
    let page = fs::read_to_string(repository().join("docs/writing-plugins.md")).unwrap();
    let (mut found, mut here, mut known) = (Vec::new(), false, false);
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let text: String = lines
                .by_ref()
                .take_while(|line| *line != "```")
                .flat_map(|line| [line, "\n"])
                .collect();
            if here {
                found.push((language.to_owned(), text));
            }
        } else if line.starts_with('#') {
            here = line.trim_start_matches('#').trim() == heading;
            known |= here;
        }
    }
    assert!(known, "the page has no heading `{heading}`");
    found
}

/// Runs a block as a reader would, with this `lapwing`.
fn run(script: &str, folder: &Path) -> Output {
    let binary = Path::new(env!("CARGO_BIN_EXE_lapwing")).parent().unwrap();
    let path = format!(
        "{}:{}",
        binary.display(),
        std::env::var_os("PATH").unwrap().display()
    );
    Command::new("timeout")
        .args(["900", "bash", "-euo", "pipefail", "-c", script])
        .current_dir(folder)
        .env("PATH", path)
        .env("LAPWING_TOOLS", tools())
        // What cargo compiles for the project is kept from one test run to the next.
        .env("CARGO_TARGET_DIR", target().join("kit"))
        .output()
        .unwrap()
}

/// Types what stands under a heading; what is shown there must be among what was printed.
async fn follow(heading: &str) {
    let http = targets::http().await;
    let (folder, mut script, mut shown) = (tempfile::tempdir().unwrap(), String::new(), Vec::new());
    for (language, text) in blocks(heading) {
        match language.as_str() {
            "sh" => script.push_str(&text),
            "text" => shown.extend(text.lines().map(str::to_owned)),
            _ => {}
        }
    }
    assert!(
        script.contains("lapwing plugin build") && script.contains("lapwing check"),
        "{heading}: {script}"
    );
    let there = format!("cd door\nsed -i 's|127.0.0.1:8080/|{http}/page|' example.json\n");
    let said = run(&script.replace("cd door\n", &there), folder.path());
    let (out, err) = (
        String::from_utf8_lossy(&said.stdout),
        String::from_utf8_lossy(&said.stderr),
    );
    assert!(said.status.success(), "{heading}: {}\n{out}\n{err}", said.status);
    let (_, next) = out
        .split_once("Next:\n\n")
        .expect("`plugin new` tells what is next");
    let next: Vec<_> = next.lines().map_while(|line| line.strip_prefix("  ")).collect();
    let typed: Vec<_> = script.lines().skip(1).collect();
    assert_eq!(
        next, typed,
        "{heading}: what `plugin new` prints, and what was typed"
    );
    assert!(!shown.is_empty());
    for line in shown {
        assert!(
            out.contains(line.trim()),
            "{heading}: `{line}` is not in\n{out}\n{err}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_minutes_in_rust() {
    follow("Rust").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_minutes_in_javascript() {
    follow("JavaScript").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_minutes_in_python() {
    follow("Python").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_minutes_in_c() {
    follow("C").await;
}

#[test]
fn new_takes_no_bad_name_and_no_folder_that_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("door");
    let path = path.to_str().unwrap();
    let bad = say(&["plugin", "new", "Door_Bell", "--path", path]);
    assert_eq!(bad.code, 64);
    assert!(
        bad.err.contains("`Door_Bell` is no name for a plugin"),
        "{}",
        bad.err
    );
    assert!(!Path::new(path).exists());

    assert_eq!(
        say(&["plugin", "new", "door", "--lang", "c", "--path", path]).code,
        0
    );
    fs::write(Path::new(path).join("mine.txt"), "kept").unwrap();
    let again = say(&["plugin", "new", "door", "--lang", "js", "--path", path]);
    assert_eq!(again.code, 64);
    assert!(again.err.contains("exists already"), "{}", again.err);
    assert_eq!(
        fs::read_to_string(Path::new(path).join("mine.txt")).unwrap(),
        "kept"
    );
    assert!(!Path::new(path).join("package.json").exists());
}

#[test]
fn build_says_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("door");
    let shown = path.to_str().unwrap();
    let stranger = say(&["plugin", "build", folder.path().to_str().unwrap()]);
    assert_eq!(stranger.code, 64);
    assert!(
        stranger
            .err
            .contains("is this a folder made by `lapwing plugin new`?"),
        "{}",
        stranger.err
    );

    for (language, wanted) in [
        ("js", "Node.js 20"),
        ("python", "Python 3.11"),
        ("c", "Python 3.11"),
        ("rust", "rustup.rs"),
    ] {
        assert_eq!(
            say(&["plugin", "new", "door", "--lang", language, "--path", shown]).code,
            0
        );
        let output = Command::new(env!("CARGO_BIN_EXE_lapwing"))
            .args(["plugin", "build", shown])
            .env_clear()
            .env("PATH", folder.path())
            .env("LAPWING_TOOLS", folder.path().join("tools"))
            .output()
            .unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{err}");
        assert!(
            err.contains("is not installed: please install") && err.contains(wanted),
            "{language}: {err}"
        );
        assert!(!path.join("dist/door.wasm").exists());
        fs::remove_dir_all(&path).unwrap();
    }
}

#[test]
fn build_reports_a_fault_of_the_source_and_keeps_the_last_good_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("door");
    let made = run("lapwing plugin new door --lang c", folder.path());
    assert!(made.status.success());
    fs::create_dir_all(path.join("dist")).unwrap();
    fs::write(path.join("dist/door.wasm"), "last good").unwrap();
    fs::write(path.join("src/plugin.c"), "int broken(\n").unwrap();
    let built = run("lapwing plugin build door", folder.path());
    let err = String::from_utf8_lossy(&built.stderr);
    assert_eq!(built.status.code(), Some(2), "{err}");
    assert!(err.contains("plugin.c:") && err.contains("error:"), "{err}");
    assert_eq!(
        fs::read_to_string(path.join("dist/door.wasm")).unwrap(),
        "last good"
    );
    let left: Vec<_> = fs::read_dir(path.join("dist")).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}
