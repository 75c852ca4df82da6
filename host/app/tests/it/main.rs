//! Drives the real binary: against a real Redis, real local targets and real plugins.

mod admin;
mod cli;
mod config;
mod outages;
mod plugins;
mod run;
mod support;
mod worker;
