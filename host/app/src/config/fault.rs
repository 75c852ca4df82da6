//! What is wrong with a configuration: everything, at once.

use lapwing_checks::{
    KindInfo,
    schema::{Fault, Schema},
};
use serde_json::Value;
use std::{fmt, path::PathBuf};

/// Everything that is wrong.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// The file the fields are of.
    file: Option<PathBuf>,
    found: Vec<Fault>,
    warnings: Vec<String>,
}

impl Faults {
    /// None yet, of `file`.
    pub(crate) fn of(file: Option<&PathBuf>) -> Self {
        Self {
            file: file.cloned(),
            ..Self::default()
        }
    }

    /// Notes one fault.
    pub(crate) fn push(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.found.push(Fault {
            field: field.into(),
            message: message.into(),
        });
    }

    /// Notes everything that is wrong with the configuration of a kind; whether that is nothing.
    pub(crate) fn hold(&mut self, kind: &KindInfo, config: &Value, root: &str) -> bool {
        let before = self.found.len();
        match Schema::new(&kind.schema, &kind.sensitive) {
            Ok(schema) => self.add(schema.faults(config, root)),
            Err(why) => self.push(
                root,
                format!(
                    "cannot be checked, the schema of `{}` is broken: {why}",
                    kind.kind
                ),
            ),
        }
        self.found.len() == before
    }

    /// Notes these as well.
    pub(crate) fn add(&mut self, faults: Vec<Fault>) {
        self.found.extend(faults);
    }

    /// Notes what is odd but no fault; told once logging has started.
    pub(crate) fn warn(&mut self, warning: String) {
        self.warnings.push(warning);
    }

    /// Whether nothing is wrong.
    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// `value` and the warnings, if nothing was wrong.
    pub(crate) fn into_result<T>(self, value: T) -> Result<(T, Vec<String>), Self> {
        if self.is_empty() {
            Ok((value, self.warnings))
        } else {
            Err(self)
        }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.found.len();
        let faults = if count == 1 { "fault" } else { "faults" };
        match &self.file {
            Some(file) => write!(f, "{}: {count} {faults}", file.display())?,
            None => write!(f, "configuration: {count} {faults}")?,
        }
        self.found
            .iter()
            .try_for_each(|fault| write!(f, "\n  {}: {}", fault.field, fault.message))
    }
}

impl std::error::Error for Faults {}
