//! `wit/v1` is frozen: guests built from its first version load and run, and its text, comments aside, is as it was.

use crate::{
    raw::built,
    support::{Bench, PLENTY, small},
};
use lapwing_model::Status;
use sha2::{Digest, Sha256};
use std::{fs, path::Path};

/// Of the text without comments, with single spaces.
const DIGEST: &str = "d82434f2b345289778badd6d9e1aaed232924ddcc98919cd4ea746cad744015a";

fn wit() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit/v1/plugin.wit")).unwrap()
}

fn digest(wit: &str) -> String {
    let lines = wit.lines().map(|line| line.split("//").next().unwrap());
    let words: Vec<_> = lines.flat_map(str::split_whitespace).collect();
    hex::encode(Sha256::digest(words.join(" ")))
}

#[test]
fn the_interface_is_as_it_was() {
    assert_eq!(
        digest(&wit()),
        DIGEST,
        "wit/v1 is frozen: what must grow goes into a new interface of a new minor version, or into v2"
    );
    assert_eq!(digest(&format!("// remark\n{}", wit())), DIGEST);
    assert_ne!(digest(&wit().replacen("u32", "u64", 1)), DIGEST);
}

#[tokio::test]
async fn guests_of_the_first_version_load_and_run() {
    let bench = Bench::of(&built("echo.wasm"), small()).await;
    let seen = bench.run(r#"{"greeting":"hello"}"#, PLENTY).await.unwrap();
    assert_eq!(seen.status, Status::Up);
    assert_eq!(seen.details.unwrap(), serde_json::json!({"greeting": "hello"}));

    let bench = Bench::of(&built("whole_world.wasm"), small()).await;
    assert_eq!(bench.run("{}", PLENTY).await.unwrap().status, Status::Up);
    let report = bench.host.load_file(built("whole_world.wasm")).await;
    let imports = &report.about.as_ref().unwrap().imports;
    for interface in ["context", "dns", "http", "log", "secrets", "state", "tcp", "udp"] {
        let name = format!("lapwing:plugin/{interface}@1.0.0");
        assert!(imports.contains(&name), "{imports:?}");
    }
}
