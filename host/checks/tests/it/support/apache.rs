//! Apache on loopback, for the logins it judges: digest by its own module, NTLM by GSS-API and gss-ntlmssp.

use super::{AMPLE, server::closed_port};
use md5::{Digest, Md5};
use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
};
use tempfile::TempDir;
use tokio::{
    net::TcpStream,
    time::{self, Duration, Instant},
};

const MODULES: &str = "/usr/lib/apache2/modules";
const REALM: &str = "the realm";

/// One server: `/digest` and `/ntlm` are for `me` with the password `s3cret` (in the domain `CORP`).
pub(crate) struct Apache {
    pub(crate) address: SocketAddr,
    process: Child,
    _home: TempDir,
}

impl Apache {
    pub(crate) async fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], closed_port().await));
        prepare(home.path(), address);
        let program = ["/usr/sbin/apache2", "apache2"];
        let program = program
            .into_iter()
            .find(|path| Path::new(path).exists())
            .unwrap_or("apache2");
        let process = Command::new(program)
            .args(["-X", "-f"])
            .arg(home.path().join("httpd.conf"))
            .env("NTLM_USER_FILE", home.path().join("ntlm"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("these tests need Debian's apache2-bin, libapache2-mod-auth-gssapi and gss-ntlmssp");
        let patience = Instant::now() + AMPLE;
        while TcpStream::connect(address).await.is_err() {
            assert!(Instant::now() < patience, "Apache never listens");
            time::sleep(Duration::from_millis(20)).await;
        }
        Self {
            address,
            process,
            _home: home,
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Drop for Apache {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn prepare(home: &Path, address: SocketAddr) {
    let pages = home.join("pages");
    for place in ["digest", "ntlm"] {
        fs::create_dir_all(pages.join(place)).unwrap();
        fs::write(pages.join(place).join("page"), format!("welcome to {place}")).unwrap();
    }
    let hash = Md5::digest(format!("me:{REALM}:s3cret"));
    let digits: Vec<String> = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    fs::write(home.join("digest"), format!("me:{REALM}:{}\n", digits.concat())).unwrap();
    fs::write(home.join("ntlm"), "CORP:me:s3cret\n").unwrap();
    let modules = [
        "mpm_event",
        "authn_core",
        "authn_file",
        "authz_core",
        "authz_user",
        "auth_digest",
        "auth_gssapi",
    ];
    let modules: Vec<String> = modules
        .iter()
        .map(|name| format!("LoadModule {name}_module {MODULES}/mod_{name}.so\n"))
        .collect();
    let (home, modules) = (home.display(), modules.concat());
    let config = format!(
        r#"ServerRoot {home}
ServerName localhost
Listen {address}
PidFile {home}/pid
Mutex file:{home}
DefaultRuntimeDir {home}
{modules}DocumentRoot {home}/pages
ErrorLog /dev/null
<Location /digest>
AuthType Digest
AuthName "{REALM}"
AuthDigestProvider file
AuthUserFile {home}/digest
Require valid-user
</Location>
<Location /ntlm>
AuthType GSSAPI
AuthName ntlm
GssapiAllowedMech ntlmssp
GssapiConnectionBound On
Require valid-user
</Location>
"#
    );
    fs::write(format!("{home}/httpd.conf"), config).unwrap();
}
