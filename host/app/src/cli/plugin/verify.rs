//! `lapwing plugin verify`: whether a plugin file carries a signature that this worker would trust.

use crate::{
    cli::{Exit, Shared, Usage, present},
    config::{Config, Environment},
    console,
};
use anyhow::Context;
use clap::Args;
use lapwing_wasm::{LoadError, PluginSettings, trust};
use minisign::PublicKey;
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
        // Its own fault must not be told as one of the settings.
        PublicKey::from_base64(keys.join("").trim()).map_err(|_| {
            Usage::says(format!(
                "--key: `{key}` is no minisign public key, nor a file that holds one"
            ))
        })?;
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
    trust::verify(&settings, &args.file, &bytes).map_err(|error| refusal(&error, args))?;
    console::line(&format!("`{}` is signed by a trusted key", args.file.display()));
    Ok(Exit::Up)
}

/// Why the file is not trusted, in terms of the keys that were asked about.
fn refusal(error: &LoadError, args: &VerifyArgs) -> anyhow::Error {
    let mut why = error.to_string();
    if let Some(key) = &args.key {
        why = why.replace("none of `plugins.trusted_keys`", &format!("not --key `{key}`"));
    }
    anyhow::anyhow!("`{}` is not trusted: {why}", args.file.display())
}

/// The key itself, or the one in the file of that name.
fn public_key(text: &str) -> anyhow::Result<String> {
    if text.starts_with("RW") && !PathBuf::from(text).exists() {
        return Ok(text.to_owned());
    }
    let file = fs::read_to_string(text).with_context(|| format!("--key: cannot read `{text}`"))?;
    let line = file.lines().find(|line| line.starts_with("RW"));
    line.map(str::to_owned)
        .with_context(|| format!("--key: `{text}` holds no minisign public key"))
}
