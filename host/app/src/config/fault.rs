//! What is wrong with a configuration: everything, at once.

use serde::Serialize;
use std::fmt;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Where: a field of the file (`monitors[2].interval`), a variable or a flag.
    pub field: String,
    /// What is there and what was expected.
    pub message: String,
}

/// Everything that is wrong.
#[derive(Debug, Default)]
pub struct Faults {
    /// The file the fields are of.
    pub file: Option<std::path::PathBuf>,
    faults: Vec<Fault>,
}

impl Faults {
    /// Notes one fault.
    pub fn push(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.faults.push(Fault { field: field.into(), message: message.into() });
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.faults.is_empty()
    }

    /// `value`, if nothing was wrong.
    pub fn into_result<T>(self, value: T) -> Result<T, Self> {
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
        self.faults.iter().try_for_each(|fault| write!(f, "\n  {}: {}", fault.field, fault.message))
    }
}

impl std::error::Error for Faults {}
