//! Drives the real binary: against a real Redis, real local targets and real plugins.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "helpers of tests fail like tests"
)]

mod admin;
mod admin_decide;
mod admin_plugins;
mod admin_upload;
mod cli;
mod clients;
mod config;
mod kit;
mod openapi;
mod outages;
mod plugin_bench;
mod plugin_cli;
mod plugin_conformance;
mod plugin_folder;
mod plugins;
mod queues;
mod run;
mod support;
mod worker;
