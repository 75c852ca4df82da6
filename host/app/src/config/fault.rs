//! What is wrong with a configuration: everything, at once.

use lapwing_checks::schema::{Fault, Schema};
use serde_json::Value;
use std::{fmt, path::PathBuf};

/// Everything that is wrong.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// The file the fields are of.
    file: Option<PathBuf>,
    faults: Vec<Fault>,
}

impl Faults {
    /// None yet, of `file`.
    pub(crate) fn of(file: Option<&PathBuf>) -> Self {
        Self {
            file: file.cloned(),
            faults: Vec::new(),
        }
    }

    /// Notes one fault.
    pub(crate) fn push(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.faults.push(Fault {
            field: field.into(),
            message: message.into(),
        });
    }

    /// Notes everything that is wrong with `value` by `schema`; tells whether nothing is.
    pub(crate) fn hold(&mut self, schema: &Value, sensitive: &[String], value: &Value, root: &str) -> bool {
        match Schema::new(schema, sensitive) {
            Ok(schema) => {
                let found = schema.faults(value, root);
                let fine = found.is_empty();
                self.faults.extend(found);
                fine
            }
            Err(why) => {
                self.push(root, format!("cannot be checked, its schema is broken: {why}"));
                false
            }
        }
    }

    /// Whether nothing is wrong.
    pub(crate) fn is_empty(&self) -> bool {
        self.faults.is_empty()
    }

    /// `value`, if nothing was wrong.
    pub(crate) fn into_result<T>(self, value: T) -> Result<T, Self> {
        if self.is_empty() { Ok(value) } else { Err(self) }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.faults.len();
        let faults = if count == 1 { "fault" } else { "faults" };
        match &self.file {
            Some(file) => write!(f, "{}: {count} {faults}", file.display())?,
            None => write!(f, "configuration: {count} {faults}")?,
        }
        self.faults
            .iter()
            .try_for_each(|fault| write!(f, "\n  {}: {}", fault.field, fault.message))
    }
}

impl std::error::Error for Faults {}
