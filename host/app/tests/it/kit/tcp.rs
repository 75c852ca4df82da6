//! The plugin for a TCP service that docs/writing-plugins.md shows in every language: tested, built and run as told there.
//!
//! Where no macro looks at configurations it gets a `config-check`, too: a component in JavaScript or Python takes half a
//! minute to build and to compile.

use super::{blocks, run};
use crate::support::targets;
use std::{fs, path::Path};

/// The blocks under `heading` in `language`, in order.
fn of(heading: &str, language: &str) -> Vec<String> {
    let found = blocks(heading).into_iter();
    found
        .filter_map(|(known, text)| (known == language).then_some(text))
        .collect()
}

/// A project as the page shows it.
struct Project {
    /// The page's heading.
    heading: &'static str,
    /// As `plugin new --lang` takes it.
    language: &'static str,
    /// Where the shown sources go, in order.
    files: &'static [&'static str],
    /// Runs the language's own tests.
    test: &'static str,
    /// What gives the first file a `config-check` that refuses an `expect` of spaces: what to write in place of what.
    validate: &'static [(&'static str, &'static str)],
}

/// Begins a project, puts what the page shows into its files, and does what the page says.
async fn follow(project: Project) {
    let Project {
        heading,
        language,
        files,
        test,
        validate,
    } = project;
    let server = targets::smtp().await;
    let folder = tempfile::tempdir().unwrap();
    let begin = format!("lapwing plugin new banner --lang {language}");
    assert!(run(&begin, folder.path()).status.success());
    let project = folder.path().join("banner");
    let mut sources = of(heading, language);
    assert_eq!(sources.len(), files.len(), "{heading}");
    for (what, with) in validate {
        assert!(sources[0].contains(what), "{heading}: `{what}` is not shown");
        sources[0] = sources[0].replacen(what, with, 1);
    }
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
    if !validate.is_empty() {
        refuses_spaces(heading, &project);
    }
}

/// What the schema cannot say is told before a run.
fn refuses_spaces(heading: &str, project: &Path) {
    let said = run(
        r#"lapwing plugin test dist/banner.wasm --config '{"host": "127.0.0.1", "port": 9, "expect": "  "}'"#,
        project,
    );
    let err = String::from_utf8_lossy(&said.stderr);
    assert_eq!(said.status.code(), Some(64), "{heading}: {err}");
    assert!(err.contains("`expect`: is all spaces"), "{heading}: {err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tcp_service_in_rust() {
    follow(Project {
        heading: "TCP in Rust",
        language: "rust",
        files: &["src/lib.rs"],
        test: "cargo test",
        validate: &[],
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tcp_service_in_javascript() {
    follow(Project {
        heading: "TCP in JavaScript",
        language: "js",
        files: &["src/plugin.js", "test/plugin.test.js"],
        test: "npm test",
        validate: &[(
            "check,\n",
            "check,\n      validate: ({ expect }) => (expect.trim() ? [] : [{ pointer: '/expect', message: 'is all spaces' }]),\n",
        )],
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tcp_service_in_python() {
    follow(Project {
        heading: "TCP in Python",
        language: "python",
        files: &["plugin.py", "test_plugin.py"],
        test: "python3 -m unittest",
        validate: &[
            ("import Capability, Plugin,", "import Capability, Plugin, Problem,"),
            // Codecs are there in the component, where there is no file to import them from.
            (
                "plugin = Plugin(",
                "def told():\n    for name in (\"windows-1252\", \"iso-8859-15\", \"koi8-r\", \"utf-16\", \"cp437\", \"idna\"):\n        \"a\".encode(name).decode(name)\n    return \"is all spaces\"\n\n\nplugin = Plugin(",
            ),
            (
                "    capabilities=",
                "    validate=lambda config: [] if config[\"expect\"].strip() else [Problem(told(), \"/expect\")],\n    capabilities=",
            ),
        ],
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tcp_service_in_c() {
    follow(Project {
        heading: "TCP in C",
        language: "c",
        files: &["src/plugin.c"],
        test: "",
        validate: &[
            (
                "static const lw_capability",
                "static void validate(lw_run *run) {\n  const char *text = lw_text(run, \"expect\", \"\");\n  \
                 if (!text[strspn(text, \" \")]) lw_problem(run, \"/expect\", \"is all %s\", \"spaces\");\n}\n\n\
                 static const lw_capability",
            ),
            (".check = check,", ".check = check,\n        .validate = validate,"),
        ],
    })
    .await;
}
