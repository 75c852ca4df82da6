//! `lapwing plugin keygen`: a key pair in minisign's format.

use crate::{
    cli::{Exit, Usage},
    console,
};
use anyhow::Context;
use clap::Args;
use minisign::KeyPair;
use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
};

/// `lapwing plugin keygen`
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  lapwing plugin keygen plugins.key\n  lapwing plugin sign smtp.wasm --key plugins.key\n\n\
                        The secret key is not encrypted: keep it where only you can read it. Keys of `minisign -G` serve \
                        as well; for those with a password you are asked."
)]
pub(crate) struct KeygenArgs {
    /// File for the secret key; the public one goes beside it, with `.pub`
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Runs it. An existing file is never overwritten.
pub(crate) fn main(args: &KeygenArgs) -> anyhow::Result<Exit> {
    let KeyPair { pk, sk } = KeyPair::generate_unencrypted_keypair().context("cannot make a key pair")?;
    let public = args.file.with_extension("pub");
    for file in [&args.file, &public] {
        if file.exists() {
            return Err(Usage::says(format!(
                "`{}` exists; name another file",
                file.display()
            )));
        }
    }
    let folder = args.file.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
        return Err(Usage::says(format!("there is no folder `{}`", folder.display())));
    }
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&args.file)
        .and_then(|mut file| {
            let text = sk
                .to_box(Some("lapwing secret key"))
                .map_err(std::io::Error::other)?;
            file.write_all(&text.to_bytes())
        })
        .with_context(|| format!("cannot write `{}`", args.file.display()))?;
    let text = pk.to_box().context("cannot write the public key")?.to_bytes();
    fs::write(&public, text).with_context(|| format!("cannot write `{}`", public.display()))?;
    console::line(&format!(
        "secret key in `{}`, public key in `{}`\n\n[plugins]\ntrusted_keys = [\"{}\"]",
        args.file.display(),
        public.display(),
        pk.to_base64()
    ));
    Ok(Exit::Up)
}
