//! Which files may be loaded at all: those whose digest is pinned, those that are signed.
//!
//! Asked before anything of a file is compiled, and for pins again whenever the lock file changes. Both are off until
//! an operator asks for them: pins by a `plugins.lock` in the plugin folder, signatures by `plugins.trusted_keys`.

pub mod pins;

pub use crate::folder::look::signature_of;

use crate::{folder::look, load::LoadError, settings::PluginSettings};
use minisign_verify::{PublicKey, Signature};
use std::{io, path::Path};

/// Largest signature file; real ones have some 300 bytes.
const SIGNATURE_KIB: u32 = 4;

/// The keys, and whether one of them must have signed.
#[derive(Debug)]
pub(crate) struct Keys {
    keys: Vec<PublicKey>,
    required: bool,
}

impl Keys {
    /// Parses the settings; `Err` with each fault as `field: expectation`.
    pub(crate) fn new(settings: &PluginSettings) -> Result<Self, Vec<String>> {
        let mut faults = Vec::new();
        let mut keys = Vec::new();
        for (index, text) in settings.trusted_keys.iter().enumerate() {
            match PublicKey::from_base64(text.trim()) {
                Ok(key) => keys.push(key),
                Err(_) => faults.push(format!(
                    "trusted_keys[{index}]: is no minisign public key; give its line that begins with `RW`"
                )),
            }
        }
        let required = settings.require_signed;
        if required && settings.trusted_keys.is_empty() {
            faults.push("require_signed: is set, but there are no trusted_keys to sign with".to_owned());
        }
        if faults.is_empty() {
            Ok(Self { keys, required })
        } else {
            Err(faults)
        }
    }

    /// Whether the file with these bytes may be loaded. Blocks.
    pub(crate) fn judge(&self, path: &Path, bytes: &[u8]) -> Result<(), LoadError> {
        if self.keys.is_empty() {
            return Ok(());
        }
        let name = signature_of(path);
        let shown = name
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let refuse = |why: String| Err(LoadError::Signature(shown.clone(), why));
        let missing = |what: &str| {
            if !self.required {
                return Ok(());
            }
            refuse(format!(
                "is missing{what}; sign the plugin with `lapwing plugin sign`"
            ))
        };
        let text = match look::text(&name, SIGNATURE_KIB) {
            Ok(text) => text,
            Err(LoadError::Unreadable(error)) if error.kind() == io::ErrorKind::NotFound => {
                return missing("");
            }
            Err(LoadError::NotAFile) => return refuse("is not a regular file".to_owned()),
            Err(error @ LoadError::Unreadable(_)) => return refuse(error.to_string()),
            // Another's word counts for nothing, and bars nothing.
            Err(error) => {
                tracing::warn!("signature `{}` is passed over: {error}", name.display());
                return missing(&format!(": the one there is passed over, {error}"));
            }
        };
        let Ok(signature) = Signature::decode(&text) else {
            return refuse("is no minisign signature; sign the plugin again".to_owned());
        };
        if self
            .keys
            .iter()
            .any(|key| key.verify(bytes, &signature, false).is_ok())
        {
            return Ok(());
        }
        refuse(
            "fits none of `plugins.trusted_keys`: the file was changed, or another key signed it".to_owned(),
        )
    }
}

/// Whether a signature lies beside a file, and is one that these settings trust. Blocks.
pub fn verify(settings: &PluginSettings, path: &Path, bytes: &[u8]) -> Result<(), LoadError> {
    let keys = Keys::new(settings).map_err(|faults| LoadError::Internal(faults.join("; ")))?;
    keys.judge(path, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use minisign::KeyPair;
    use std::{
        fs,
        io::Cursor,
        os::unix::fs::{PermissionsExt, chown},
    };

    fn keys(keys: &[&KeyPair], required: bool) -> Keys {
        Keys::new(&PluginSettings {
            trusted_keys: keys.iter().map(|pair| pair.pk.to_base64()).collect(),
            require_signed: required,
            ..PluginSettings::default()
        })
        .unwrap()
    }

    fn sign(pair: &KeyPair, path: &Path) {
        let bytes = Cursor::new(fs::read(path).unwrap());
        let signature = minisign::sign(Some(&pair.pk), &pair.sk, bytes, None, None).unwrap();
        fs::write(signature_of(path), signature.to_bytes()).unwrap();
    }

    #[test]
    fn a_signature_of_a_trusted_key_is_asked_for_and_checked() {
        let (ours, theirs) = (
            KeyPair::generate_unencrypted_keypair().unwrap(),
            KeyPair::generate_unencrypted_keypair().unwrap(),
        );
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.wasm");
        fs::write(&path, b"component").unwrap();
        let judge = |keys: &Keys, bytes: &[u8]| keys.judge(&path, bytes).map_err(|error| error.to_string());
        let (optional, required) = (keys(&[&theirs, &ours], false), keys(&[&ours], true));
        assert_eq!(
            judge(&optional, b"component"),
            Ok(()),
            "unsigned, and that is allowed"
        );
        assert!(
            judge(&required, b"component")
                .unwrap_err()
                .contains("`a.wasm.minisig` is missing")
        );
        sign(&ours, &path);
        assert_eq!(judge(&optional, b"component"), Ok(()));
        assert_eq!(judge(&required, b"component"), Ok(()));
        assert!(judge(&optional, b"other").unwrap_err().contains("fits none of"));
        sign(&theirs, &path);
        assert!(
            judge(&required, b"component")
                .unwrap_err()
                .contains("fits none of")
        );
        fs::write(signature_of(&path), "hello").unwrap();
        assert!(
            judge(&optional, b"component")
                .unwrap_err()
                .contains("no minisign signature")
        );
    }

    #[test]
    fn a_signature_of_someone_else_bars_nothing_and_proves_nothing() {
        let pair = KeyPair::generate_unencrypted_keypair().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.wasm");
        fs::write(&path, b"component").unwrap();
        let signature = signature_of(&path);
        let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        let judge = |required| {
            let judged = keys(&[&pair], required).judge(&path, b"component");
            judged.map_err(|error| error.to_string())
        };
        let passed_over = |why: &str| {
            assert_eq!(judge(false), Ok(()), "{why}");
            let refusal = judge(true).unwrap_err();
            assert!(
                refusal.starts_with("signature `a.wasm.minisig` is missing: the one there is passed over, ")
                    && refusal.contains(why),
                "{refusal}"
            );
        };
        fs::write(&signature, "junk").unwrap();
        mode(&signature, 0o646);
        passed_over("writable by others (mode 646)");
        // A good one is as little to be relied on, for it may be another the next time.
        sign(&pair, &path);
        mode(&signature, 0o646);
        passed_over("writable by others (mode 646)");
        mode(&signature, 0o644);
        assert_eq!(judge(true), Ok(()));
        // Who is not root cannot give files away.
        if chown(&signature, Some(12_345), None).is_ok() {
            passed_over("belongs to user 12345");
        }
    }

    #[test]
    fn unfit_keys_are_named() {
        let faults = Keys::new(&PluginSettings {
            trusted_keys: vec!["RWhello".to_owned()],
            ..PluginSettings::default()
        });
        assert!(faults.unwrap_err()[0].starts_with("trusted_keys[0]: is no minisign public key"));
        let faults = Keys::new(&PluginSettings {
            require_signed: true,
            ..PluginSettings::default()
        });
        assert!(faults.unwrap_err()[0].starts_with("require_signed: "));
    }
}
