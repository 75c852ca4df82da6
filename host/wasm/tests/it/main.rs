//! The plugin host against real components: those of `plugins/` and `plugins/fixtures`, built by `just build-plugins`,
//! and small ones written as text where a component need not run.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the helpers of tests fail as tests do"
)]

mod conduct;
mod inventory;
mod loading;
mod misdeeds;
mod neighbours;
mod network;
mod polyglot;
mod smtp;
mod support;
mod travels;
mod wasi_http;
mod wasi_sockets;
