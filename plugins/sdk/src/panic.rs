//! A panic's message and place, told before the trap ends the instance.

use crate::log;
use std::panic;

/// From now on a panic is logged as an error, and written to stderr as ever: the worker makes the result's text of that.
pub(crate) fn tell() {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        log::write(log::Level::Error, format_args!("{info}"));
        usual(info);
    }));
}
