//! `lapwing plugin bench`: what a run of one file costs.

use crate::support::{plugin, process::say};
use serde_json::{Value, json};
use std::path::PathBuf;

#[test]
fn a_bench_counts_every_run_and_how_it_ended() {
    let file = PathBuf::from(plugin("smtp.wasm"));
    let told = say(&[
        "plugin",
        "bench",
        file.to_str().unwrap(),
        "--runs",
        "50",
        "--at-once",
        "4",
        "--json",
    ]);
    let figures: Value = told.json();
    assert_eq!((told.code, &figures["runs"]), (0, &json!(50)), "{figures}");
    assert_eq!(
        figures["endings"],
        json!({"unknown denied_by_policy": 50}),
        "{figures}"
    );
    assert_eq!(figures["size_bytes"], file.metadata().unwrap().len());
    let figure = |name: &str| figures[name].as_f64().unwrap();
    assert!(
        figure("p50_us") > 0.0 && figure("p50_us") <= figure("p99_us") && figure("cpu_us_per_run") > 0.0,
        "{figures}"
    );
}

#[test]
fn a_bench_of_an_unfit_config_is_refused_with_every_fault() {
    let unfit = r#"{"prot": 25, "port": "x"}"#;
    let told = say(&["plugin", "bench", &plugin("smtp.wasm"), "--config", unfit]);
    assert_eq!((told.code, told.out.as_str()), (64, ""), "{}", told.err);
    for part in [
        "`host`: is missing",
        "`port`: ",
        "`prot`: unknown field",
        "for example --config '{",
    ] {
        assert!(told.err.contains(part), "{part} in {}", told.err);
    }
    // What only the plugin itself can see.
    let told = say(&[
        "plugin",
        "bench",
        &plugin("fixtures/invalid_config.wasm"),
        "--config",
        "{}",
    ]);
    assert_eq!(told.code, 64, "{}{}", told.out, told.err);
}

#[test]
fn a_bench_without_any_verdict_is_no_success() {
    let said = say(&["plugin", "bench", &plugin("fixtures/trap.wasm"), "--runs", "5"]);
    assert_eq!(said.code, 2, "{}{}", said.out, said.err);
    assert_eq!(
        said.out.contains("debug build"),
        cfg!(debug_assertions),
        "{}",
        said.out
    );
}
