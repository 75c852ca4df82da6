//! The plugin for a TCP service that docs/writing-plugins.md shows in every language: tested, built and run as told there.

use super::{blocks, run};
use crate::support::targets;
use std::fs;

/// The blocks under `heading` in `language`, in order.
fn of(heading: &str, language: &str) -> Vec<String> {
    let found = blocks(heading).into_iter();
    found
        .filter_map(|(known, text)| (known == language).then_some(text))
        .collect()
}

/// Begins a project, puts what the page shows into `files`, and does what the page says; `test` is the language's own.
async fn follow(heading: &str, language: &str, files: &[&str], test: &str) {
    let server = targets::smtp().await;
    let folder = tempfile::tempdir().unwrap();
    let begin = format!("lapwing plugin new banner --lang {language}");
    assert!(run(&begin, folder.path()).status.success());
    let project = folder.path().join("banner");
    let sources = of(heading, language);
    assert_eq!(sources.len(), files.len(), "{heading}");
    for (file, text) in files.iter().zip(sources) {
        fs::write(project.join(file), text).unwrap();
    }
    let port = server.port().to_string();
    let (config, monitors) = (
        of("A TCP service", "json").remove(0),
        of("A monitor of your own kind", "toml").remove(0),
    );
    assert!(config.contains("2525") && monitors.contains("2525"));
    fs::write(project.join("example.json"), config.replace("2525", &port)).unwrap();
    fs::write(project.join("monitors.toml"), monitors.replace("2525", &port)).unwrap();
    let (typed, once) = (
        of("A TCP service", "sh").join("\n"),
        of("A monitor of your own kind", "sh").join("\n"),
    );
    let said = run(&format!("{test}\n{typed}\n{once}"), &project);
    let (out, err) = (
        String::from_utf8_lossy(&said.stdout),
        String::from_utf8_lossy(&said.stderr),
    );
    assert!(said.status.success(), "{heading}: {}\n{out}\n{err}", said.status);
    assert_eq!(
        out.matches("220 mail.test ESMTP ready").count(),
        2,
        "{heading}: `plugin test` and `run` are up\n{out}\n{err}"
    );
    assert!(
        out.contains("connection_refused"),
        "{heading}: conformance\n{out}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tcp_service_in_rust() {
    follow("TCP in Rust", "rust", &["src/lib.rs"], "cargo test").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tcp_service_in_javascript() {
    let files = ["src/plugin.js", "test/plugin.test.js"];
    follow("TCP in JavaScript", "js", &files, "npm test").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tcp_service_in_python() {
    let files = ["plugin.py", "test_plugin.py"];
    follow("TCP in Python", "python", &files, "python3 -m unittest").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tcp_service_in_c() {
    follow("TCP in C", "c", &["src/plugin.c"], "").await;
}
