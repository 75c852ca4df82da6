//! `lapwing plugin sign`: writes a signature beside a plugin file.

use crate::{
    cli::{Exit, Usage, present},
    console,
};
use anyhow::{Context, ensure};
use clap::Args;
use lapwing_wasm::trust::signature_of;
use minisign::{SecretKey, SecretKeyBox};
use std::{
    fs,
    io::Cursor,
    path::{Path, PathBuf},
};

/// `lapwing plugin sign`
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  lapwing plugin sign smtp.wasm --key plugins.key      writes smtp.wasm.minisig"
)]
pub(crate) struct SignArgs {
    /// A component file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The secret key, of `lapwing plugin keygen` or `minisign -G`
    #[arg(long, value_name = "KEYFILE")]
    key: PathBuf,
}

/// Runs it.
pub(crate) fn main(args: &SignArgs) -> anyhow::Result<Exit> {
    present(&args.file)?;
    let key = secret_key(&args.key)
        .with_context(|| format!("cannot use key `{}`", args.key.display()))
        .map_err(Usage::of)?;
    let bytes = fs::read(&args.file).with_context(|| format!("cannot read `{}`", args.file.display()))?;
    let name = args.file.file_name().unwrap_or_default().to_string_lossy();
    let comment = format!("file:{name}");
    let signature =
        minisign::sign(None, &key, Cursor::new(bytes), Some(&comment), None).context("cannot sign")?;
    let to = signature_of(&args.file);
    fs::write(&to, signature.to_bytes()).with_context(|| format!("cannot write `{}`", to.display()))?;
    console::line(&format!("signature in `{}`", to.display()));
    Ok(Exit::Up)
}

/// Asks for the password if the key has one.
fn secret_key(path: &Path) -> anyhow::Result<SecretKey> {
    let text = fs::read_to_string(path)?;
    // minisign's public keys are 42 bytes, its secret ones 158; in base64 both begin with `RW`.
    let public = |line: &str| line.starts_with("RW") && line.trim_end().len() == 56;
    ensure!(
        !text.lines().any(public),
        "it is a public key; expected the secret one, which `lapwing plugin keygen NAME.key` puts beside `NAME.pub`"
    );
    let key = || SecretKeyBox::from_string(&text);
    match key()?.into_unencrypted_secret_key() {
        Ok(key) if !key.is_encrypted() => Ok(key),
        _ => key()?
            .into_secret_key(None)
            .context("expected a minisign secret key, such as `lapwing plugin keygen` makes"),
    }
}
