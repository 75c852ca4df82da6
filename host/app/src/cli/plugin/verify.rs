//! `lapwing plugin verify`: whether a plugin file carries a signature that this worker would trust.

use crate::{
    cli::{Exit, Shared, Usage, present},
    config::{Config, Environment},
    console,
};
use anyhow::Context;
use clap::Args;
use lapwing_wasm::{PluginSettings, trust};
use std::{fs, path::PathBuf};

/// `lapwing plugin verify`
#[derive(Debug, Args)]
#[command(after_help = "Exits 2 when the file is not signed by one of the keys.")]
pub(crate) struct VerifyArgs {
    /// A component file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// A public key (`RW…`), or a file that holds one [default: `plugins.trusted_keys` of the configuration]
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    #[command(flatten)]
    shared: Shared,
}

/// Runs it.
pub(crate) fn main(args: &VerifyArgs, environment: &Environment) -> anyhow::Result<Exit> {
    let config = Config::load(&args.shared.quiet(), environment)?;
    config.start_logging();
    let mut keys = config.plugin_settings.trusted_keys.clone();
    if let Some(key) = &args.key {
        keys = vec![public_key(key).map_err(Usage::of)?];
    }
    if keys.is_empty() {
        return Err(Usage::says(
            "no key to check with: give --key, or set `plugins.trusted_keys`",
        ));
    }
    present(&args.file)?;
    let settings = PluginSettings {
        trusted_keys: keys,
        require_signed: true,
        ..PluginSettings::default()
    };
    let bytes = fs::read(&args.file).with_context(|| format!("cannot read `{}`", args.file.display()))?;
    trust::verify(&settings, &args.file, &bytes)
        .with_context(|| format!("`{}` is not trusted", args.file.display()))?;
    console::line(&format!("`{}` is signed by a trusted key", args.file.display()));
    Ok(Exit::Up)
}

/// The key itself, or the one in the file of that name.
fn public_key(text: &str) -> anyhow::Result<String> {
    if text.starts_with("RW") && !PathBuf::from(text).exists() {
        return Ok(text.to_owned());
    }
    let file = fs::read_to_string(text).with_context(|| format!("cannot read key `{text}`"))?;
    let line = file.lines().find(|line| line.starts_with("RW"));
    line.map(str::to_owned)
        .with_context(|| format!("`{text}` holds no minisign public key"))
}
