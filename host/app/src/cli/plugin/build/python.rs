//! Python: `componentize-py` from PyPI.

use super::tools::{PYTHON, Tools, pip, python, run};
use anyhow::bail;
use std::{ffi::OsStr, path::Path};

const COMPONENTIZE: &str = "componentize-py==0.25.1";

pub(super) fn build(folder: &Path, output: &Path, tools: &Tools) -> anyhow::Result<()> {
    if !folder.join("plugin.py").is_file() {
        bail!("`{}` has no plugin.py", folder.display());
    }
    let installed = tools.python(COMPONENTIZE, "80 MB, once")?;
    let (wanted, packages) = (folder.join("requirements.txt"), folder.join(".packages"));
    if wanted.is_file() && !packages.exists() {
        pip(
            &packages,
            &["--only-binary=:all:".as_ref(), "-r".as_ref(), wanted.as_os_str()],
        )?;
    }
    let mut command = python();
    command
        .current_dir(folder)
        .env("PYTHONPATH", installed)
        .args(["-c", "import componentize_py; componentize_py.script()"])
        .args(["--quiet", "--wit-path", "wit/v1", "--world", "plugin"])
        .args([
            "componentize",
            "plugin",
            "--python-path",
            ".",
            "--python-path",
            "vendor",
        ]);
    if packages.is_dir() {
        command.args([OsStr::new("--python-path"), packages.as_os_str()]);
    }
    command.arg("--output").arg(output);
    run(command, PYTHON)
}
