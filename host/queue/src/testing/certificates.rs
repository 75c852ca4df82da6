//! Certificates made for one test.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use std::{fs, path::PathBuf};
use tempfile::TempDir;

/// An authority, and what it signed: a server's certificate for `localhost` and `127.0.0.1`, and a client's. All are
/// files in PEM.
#[derive(Debug)]
pub struct Certificates {
    folder: TempDir,
}

#[expect(clippy::expect_used, reason = "a test's fixture has nobody to tell")]
impl Certificates {
    /// Makes them.
    pub fn new() -> Self {
        Self::for_names(&["localhost", "127.0.0.1"])
    }

    /// Makes them; the server's bears these names.
    pub fn for_names(names: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let write = |name: &str, pem: String| {
            fs::write(folder.path().join(name), pem).expect("a file in our folder");
        };
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Of two authorities with one name, the wrong one would seem to have forged a signature.
        let name = uuid::Uuid::new_v4().to_string();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let authority = CertifiedIssuer::self_signed(params, key).expect("an authority");
        write("ca.pem", authority.pem());
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        for (file, names, usage) in [
            ("server", names, ExtendedKeyUsagePurpose::ServerAuth),
            (
                "client",
                vec!["client".to_owned()],
                ExtendedKeyUsagePurpose::ClientAuth,
            ),
        ] {
            let key = KeyPair::generate().expect("a key");
            let mut params = CertificateParams::new(names).expect("names");
            params.extended_key_usages = vec![usage];
            let certificate = params.signed_by(&key, &authority).expect("a signature");
            write(&format!("{file}.pem"), certificate.pem());
            write(&format!("{file}.key"), key.serialize_pem());
        }
        Self { folder }
    }

    /// `ca.pem`, `server.pem`, `server.key`, `client.pem` or `client.key`.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn server_arguments(&self) -> Vec<String> {
        let arguments = [
            ("--tls-cert-file", "server.pem"),
            ("--tls-key-file", "server.key"),
            ("--tls-ca-cert-file", "ca.pem"),
        ];
        let path = |name| self.file(name).display().to_string();
        arguments
            .iter()
            .flat_map(|(option, name)| [(*option).to_owned(), path(name)])
            .collect()
    }
}

impl Default for Certificates {
    fn default() -> Self {
        Self::new()
    }
}
