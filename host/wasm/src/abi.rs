//! The plugin interface as the host sees it: one module per major version of `lapwing:plugin`.
//!
//! A new major version is a new module beside `v1` with its own adapters; `v1` stays as it is. `v2` is a toy that shows
//! how, compiled for tests only.

pub(crate) mod v1;
#[cfg(test)]
mod v2;
