//! Python: `componentize-py` from PyPI.

use super::tools::{PYTHON, Tools, pip, python, recent, run};
use anyhow::bail;
use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

const COMPONENTIZE: &str = "componentize-py==0.25.1";

pub(super) fn build(folder: &Path, output: &Path, tools: &Tools) -> anyhow::Result<()> {
    if !folder.join("plugin.py").is_file() {
        bail!("`{}` has no plugin.py", folder.display());
    }
    let mut version = python();
    version.args(["-c", "import sys; print(*sys.version_info[:2], sep='.')"]);
    recent(version, &[3, 11], PYTHON)?;
    let installed = tools.python(COMPONENTIZE, "80 MB, once")?;
    let packages = packages(folder)?;
    let mut command = python();
    command
        .current_dir(folder)
        .env("PYTHONPATH", installed)
        // Of an exception in plugin.py the trace is Python's.
        .env("RUST_BACKTRACE", "0")
        .args(["-c", "import componentize_py; componentize_py.script()"])
        .args(["--quiet", "--wit-path", "wit/v1", "--world", "plugin-validating"])
        .args([
            "componentize",
            "lapwing_plugin.component",
            "--python-path",
            ".",
            "--python-path",
            "vendor",
        ]);
    if let Some(packages) = packages {
        command.arg("--python-path").arg(packages);
    }
    command.arg("--output").arg(output);
    run(command, PYTHON)
}

/// The folder of what `requirements.txt` asks for, installed when that is newer; `None` when there is none.
fn packages(folder: &Path) -> anyhow::Result<Option<PathBuf>> {
    let (wanted, packages) = (folder.join("requirements.txt"), folder.join(".packages"));
    if !wanted.is_file() {
        return Ok(None);
    }
    let since = |path: &Path| fs::metadata(path).and_then(|file| file.modified());
    if since(&packages).is_ok_and(|installed| since(&wanted).is_ok_and(|changed| changed <= installed)) {
        return Ok(Some(packages));
    }
    let _ = fs::remove_dir_all(&packages);
    let asked = [
        OsStr::new("--only-binary=:all:"),
        OsStr::new("-r"),
        wanted.as_os_str(),
    ];
    if let Err(error) = pip(&packages, &asked) {
        let _ = fs::remove_dir_all(&packages);
        return Err(error);
    }
    Ok(Some(packages))
}
