//! A panic's message and place, told before the trap ends the instance.

use crate::log;
use std::panic;

/// From now on a panic is logged as an error, and written to stderr: the worker makes the result's text of that. Not by the
/// usual hook, which advises to set a variable that no plugin has.
pub(crate) fn tell() {
    panic::set_hook(Box::new(|info| {
        log::write(log::Level::Error, format_args!("{info}"));
        eprintln!("{info}");
    }));
}
