//! The plugin host against real components: those of `plugins/` and `plugins/fixtures`, built by `just build-plugins`,
//! and small ones written as text where a component need not run.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the helpers of tests fail as tests do"
)]

mod caching;
mod compiling;
mod conduct;
mod domain_expiry;
mod drift;
mod folder;
mod frozen;
mod game_server;
mod hostile;
mod imap;
mod inventory;
mod ldap;
mod limits;
mod loading;
mod misdeeds;
mod neighbours;
mod network;
mod ntp;
mod polyglot;
mod radius;
mod raw;
mod readme;
mod reentry;
mod reuse;
mod rights;
mod rows;
mod servers;
mod smtp;
mod ssh;
mod support;
mod travels;
mod validating;
mod wasi_http;
mod wasi_sockets;
