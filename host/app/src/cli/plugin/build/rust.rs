//! Rust: cargo, for the target whose programs are components.

use super::tools::{ask, run};
use anyhow::{Context, bail};
use serde::Deserialize;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const TARGET: &str = "wasm32-wasip2";
const RUST: &str = "Rust 1.95 or later (https://rustup.rs)";

/// What `cargo metadata` tells of the package.
#[derive(Debug, Deserialize)]
struct Metadata {
    target_directory: PathBuf,
    packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Package {
    manifest_path: PathBuf,
    targets: Vec<Target>,
}

#[derive(Debug, Deserialize)]
struct Target {
    name: String,
    crate_types: Vec<String>,
}

pub(super) fn build(folder: &Path, output: &Path) -> anyhow::Result<()> {
    let mut libraries = Command::new("rustc");
    libraries
        .current_dir(folder)
        .args(["--print", "target-libdir", "--target", TARGET]);
    if !Path::new(ask(libraries, RUST)?.trim()).is_dir() {
        let mut add = Command::new("rustup");
        add.current_dir(folder).args(["target", "add", TARGET]);
        run(
            add,
            "rustup (https://rustup.rs), or the standard library for `wasm32-wasip2`",
        )?;
    }
    let mut metadata = Command::new("cargo");
    metadata
        .current_dir(folder)
        .args(["metadata", "--format-version", "1", "--no-deps"]);
    let metadata: Metadata =
        serde_json::from_str(&ask(metadata, RUST)?).context("cannot read `cargo metadata`")?;
    let library = component(&metadata, &folder.join("Cargo.toml"))?;
    let mut cargo = Command::new("cargo");
    cargo
        .current_dir(folder)
        .args(["build", "--release", "--lib", "--target", TARGET]);
    run(cargo, RUST)?;
    let built = metadata
        .target_directory
        .join(TARGET)
        .join("release")
        .join(library.replace('-', "_"))
        .with_extension("wasm");
    fs::copy(&built, output).with_context(|| format!("cannot copy `{}`", built.display()))?;
    Ok(())
}

/// The name of the package's library that becomes a component.
fn component<'a>(metadata: &'a Metadata, manifest: &Path) -> anyhow::Result<&'a str> {
    let package = metadata
        .packages
        .iter()
        .find(|package| package.manifest_path == manifest);
    let mut targets = package.into_iter().flat_map(|package| &package.targets);
    let Some(library) = targets.find(|target| target.crate_types.iter().any(|kind| kind == "cdylib")) else {
        bail!(
            "`{}` has no library with `crate-type = [\"cdylib\"]`",
            manifest.display()
        );
    };
    Ok(&library.name)
}
