//! Programs that builds run, and where the ones that were installed lie.

use crate::console;
use anyhow::{Context, bail};
use std::{
    ffi::OsStr,
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The folder of installed tools.
#[derive(Debug)]
pub(super) struct Tools {
    folder: PathBuf,
}

impl Tools {
    pub(super) fn new(folder: Option<PathBuf>) -> anyhow::Result<Self> {
        let folder = folder
            .context("the user has no cache folder: name a folder for the build tools with `--tools`")?;
        Ok(Self {
            folder: std::path::absolute(folder)?,
        })
    }

    /// The folder of one tool; `install` fills it when it is not there. What is found was installed to the end: it is
    /// made beside and moved into place, by one build at a time.
    pub(super) fn ready(
        &self,
        tool: &str,
        note: &str,
        install: impl FnOnce(&Path) -> anyhow::Result<()>,
    ) -> anyhow::Result<PathBuf> {
        let folder = self.folder.join(tool);
        if folder.is_dir() {
            return Ok(folder);
        }
        let shown = self.folder.display();
        fs::create_dir_all(&self.folder).with_context(|| format!("cannot make `{shown}`"))?;
        let lock = fs::File::create(self.folder.join(format!("{tool}.lock")))
            .and_then(|file| file.lock().map(|()| file))
            .with_context(|| format!("cannot lock `{shown}`"))?;
        if !folder.is_dir() {
            console::note(&format!("installing {tool} in {shown}: {note}"));
            let part = self.folder.join(format!("{tool}.part"));
            // Of a build that was ended.
            let _ = fs::remove_dir_all(&part);
            fs::create_dir(&part)
                .map_err(anyhow::Error::from)
                .and_then(|()| install(&part))
                .and_then(|()| Ok(fs::rename(&part, &folder)?))
                .with_context(|| format!("cannot install {tool}"))?;
        }
        drop(lock);
        Ok(folder)
    }

    /// A package from PyPI, without dependencies, at `name==version`.
    pub(super) fn python(&self, requirement: &str, note: &str) -> anyhow::Result<PathBuf> {
        self.ready(&requirement.replace("==", "-"), note, |folder| {
            pip(folder, &[requirement.as_ref()])
        })
    }

    /// Where a tool may keep what it has compiled before.
    pub(super) fn cache(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// Installs from PyPI into a folder of its own: no environment is changed, and none is needed.
pub(super) fn pip(folder: &Path, wanted: &[&OsStr]) -> anyhow::Result<()> {
    let mut command = python();
    command
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-input",
            "--root-user-action=ignore",
            "--target",
        ])
        .arg(folder)
        .args(wanted);
    run(command, PYTHON)
}

/// CPython; what it compiles of its own is not written into projects.
pub(super) fn python() -> Command {
    let mut command = Command::new("python3");
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// What to say when it is missing.
pub(super) const PYTHON: &str =
    "Python 3.11 or later with pip (Debian: `apt-get install python3 python3-pip`)";

/// Runs a program to its end; what it says goes to standard error. `install` tells what to install when it is missing.
pub(super) fn run(mut command: Command, install: &str) -> anyhow::Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .status()
        .or_else(|error| missing(error, &program, install))?;
    if !status.success() {
        bail!("`{program}` failed ({status}); what it said stands above");
    }
    Ok(())
}

/// The same, for what it prints.
pub(super) fn ask(mut command: Command, install: &str) -> anyhow::Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .or_else(|error| missing(error, &program, install))?;
    if !output.status.success() {
        bail!(
            "`{program}` failed ({}); what it said stands above",
            output.status
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Refuses a program whose version, as `command` prints it, is older than `least`; `install` tells what is needed.
pub(super) fn recent(command: Command, least: &[u32], install: &str) -> anyhow::Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let said = ask(command, install)?;
    let numbers = said.trim().trim_start_matches('v').split('.');
    let version: Vec<u32> = numbers.map_while(|number| number.parse().ok()).collect();
    if *version < *least {
        bail!("`{program}` is version {}; this needs {install}", said.trim());
    }
    Ok(())
}

fn missing<T>(error: std::io::Error, program: &str, install: &str) -> anyhow::Result<T> {
    if error.kind() == ErrorKind::NotFound {
        bail!("`{program}` is not installed: please install {install}");
    }
    Err(error).with_context(|| format!("cannot run `{program}`"))
}
