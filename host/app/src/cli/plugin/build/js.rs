//! JavaScript: the SDK's own build script, with the tools its package file names.

use super::tools::{Tools, recent, run};
use crate::cli::plugin::kit;
use anyhow::bail;
use std::{path::Path, process::Command};

const NODE: &str = "Node.js 20 or later with npm (https://nodejs.org, or `apt-get install nodejs npm`)";
/// Of `sdk/js/tools/package.json`; a test compares them.
const TOOLS: &str = "componentize-js-0.23.0";

pub(super) fn build(folder: &Path, output: &Path, tools: &Tools) -> anyhow::Result<()> {
    let mut version = Command::new("node");
    version.arg("--version");
    recent(version, &[20], NODE)?;
    let installed = tools.ready(TOOLS, "400 MB, once", |folder| {
        for file in kit::JS_TOOLS {
            kit::put(&folder.join(file.path), file.bytes)?;
        }
        npm(folder, &["install"])
    })?;
    let source = ["src/plugin.ts", "src/plugin.js"]
        .into_iter()
        .find(|source| folder.join(source).is_file());
    let Some(source) = source else {
        bail!("`{}` has no src/plugin.js or src/plugin.ts", folder.display());
    };
    if folder.join("package-lock.json").is_file() && !folder.join("node_modules").exists() {
        npm(folder, &["ci"])?;
    }
    let mut command = Command::new("node");
    command
        .current_dir(folder)
        .arg("vendor/lapwing-plugin/build.mjs")
        .arg("--tools")
        .arg(installed)
        .arg(source)
        .arg(output);
    run(command, NODE)
}

fn npm(folder: &Path, verb: &[&str]) -> anyhow::Result<()> {
    let mut command = Command::new("npm");
    command
        .current_dir(folder)
        .args(verb)
        .args(["--no-audit", "--no-fund", "--loglevel=error"]);
    run(command, NODE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_of_the_tools_is_named_after_their_version() {
        let package: serde_json::Value = serde_json::from_slice(kit::JS_TOOLS[0].bytes).unwrap();
        let version = package["dependencies"]["@bytecodealliance/componentize-js"]
            .as_str()
            .unwrap();
        assert_eq!(TOOLS, format!("componentize-js-{version}"));
    }
}
