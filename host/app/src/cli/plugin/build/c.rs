//! C: clang as `zig cc` from PyPI, which brings the libc of WASI; then the module becomes a component here.

use super::tools::{PYTHON, Tools, python, run};
use anyhow::{Context, bail};
use std::{
    fs,
    path::{Path, PathBuf},
};
use wit_component::ComponentEncoder;

const ZIG: &str = "ziglang==0.17.1";
/// What a C library calls for its output and its end, in terms of WASI 0.2.
const ADAPTER: (&str, &[u8]) = (
    wasi_preview1_component_adapter_provider::WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME,
    wasi_preview1_component_adapter_provider::WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
);

pub(super) fn build(folder: &Path, output: &Path, tools: &Tools) -> anyhow::Result<()> {
    let sources = sources(&folder.join("src"))?;
    let zig = tools.python(ZIG, "400 MB, once")?;
    let module = output.with_extension("core");
    let mut command = python();
    command
        .current_dir(folder)
        .env("PYTHONPATH", zig)
        .env("ZIG_GLOBAL_CACHE_DIR", tools.cache("zig-cache"))
        .env("ZIG_LOCAL_CACHE_DIR", tools.cache("zig-cache"))
        .args([
            "-m",
            "ziglang",
            "cc",
            "-target",
            "wasm32-wasi",
            "-mexec-model=reactor",
            "-std=c11",
        ])
        .args([
            "-Os",
            "-flto",
            "-s",
            "-Wall",
            "-Wextra",
            // An `assert` that vanishes takes its call along.
            "-UNDEBUG",
            "-Wl,-z,stack-size=262144",
        ])
        .args([
            "-Ivendor/lapwing",
            "vendor/lapwing/lapwing.c",
            "vendor/lapwing/plugin.c",
        ])
        .arg("vendor/lapwing/plugin_component_type.o")
        .args(sources)
        .arg("-o")
        .arg(&module);
    let compiled = run(command, PYTHON)
        .context("the C compiler, `zig cc`")
        .and_then(|()| fs::read(&module).with_context(|| format!("cannot read `{}`", module.display())));
    let _ = fs::remove_file(&module);
    let component = component(&compiled?)?;
    fs::write(output, component).with_context(|| format!("cannot write `{}`", output.display()))
}

fn sources(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut sources = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read `{}`", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "c") {
            sources.push(path);
        }
    }
    if sources.is_empty() {
        bail!("`{}` has no `.c` file", folder.display());
    }
    sources.sort();
    Ok(sources)
}

fn component(module: &[u8]) -> anyhow::Result<Vec<u8>> {
    let (name, adapter) = ADAPTER;
    ComponentEncoder::default()
        .validate(true)
        .module(module)
        .and_then(|encoder| encoder.adapter(name, adapter))
        .and_then(ComponentEncoder::encode)
        .context("the module is no plugin: does it define `lapwing_describe` and `lapwing_check`?")
}
