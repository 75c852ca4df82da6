//! Collects what a kind finds wrong with its own configuration, each fault with the field it is of. Kinds fill it in
//! [`Check::review`](crate::Check::review).

use crate::{CheckError, schema::Fault};
use std::fmt::Display;

/// What was found so far; a fault that is found twice is told once.
#[derive(Debug, Default)]
pub struct Findings(Vec<Fault>);

impl Findings {
    /// Notes what is wrong with `field`, spelled as in the configuration.
    pub fn add(&mut self, field: &str, why: impl Display) {
        let fault = invalid(field, why);
        if !self.0.contains(&fault) {
            self.0.push(fault);
        }
    }

    /// What was made of `field`, or a note of why nothing can be.
    pub fn of<T>(&mut self, field: &str, read: Result<T, impl Display>) -> Option<T> {
        read.map_err(|why| self.add(field, why)).ok()
    }

    /// As [`Self::of`], of a fault that names its field.
    pub fn take<T>(&mut self, read: Result<T, Fault>) -> Option<T> {
        read.map_err(|fault| self.add(&fault.field, fault.message)).ok()
    }

    /// Nothing, if nothing was found.
    pub(crate) fn into_result(self) -> Result<(), CheckError> {
        if self.0.is_empty() {
            return Ok(());
        }
        Err(CheckError::unfit(&self.0))
    }

    /// All of them.
    pub(crate) fn into_faults(self) -> Vec<Fault> {
        self.0
    }
}

/// A fault of one field.
pub(crate) fn invalid(field: &str, why: impl Display) -> Fault {
    Fault {
        field: field.to_owned(),
        message: why.to_string(),
    }
}

impl From<Fault> for CheckError {
    fn from(fault: Fault) -> Self {
        Self::InvalidConfig(fault.to_string())
    }
}
