//! A plugin's own check of configurations: what it finds wrong is told before anything runs, and in no run.

use crate::support::{Bench, PLENTY, checker, context, fixture, refused, small, wasm};
use lapwing_checks::{CheckError, schema::Fault};
use lapwing_model::{Reason, Status};
use lapwing_wasm::{PluginHost, PluginSettings, RunLimits, TrialOptions};
use serde_json::json;
use std::time::Duration;
use tokio::time::Instant;

async fn review(bench: &Bench, config: &serde_json::Value) -> Result<Vec<Fault>, CheckError> {
    let deadline = Instant::now() + PLENTY;
    let config = config.to_string();
    bench
        .executor()
        .review(&config, "monitors[1].config", deadline)
        .await
}

#[tokio::test]
async fn a_plugin_tells_what_its_schema_cannot() {
    let bench = Bench::new("validating").await;
    // The default of `to` is filled in, as it is for a run.
    for fit in [
        json!({ "from": 1 }),
        json!({ "from": 9 }),
        json!({ "from": 1, "to": 1 }),
    ] {
        assert_eq!(review(&bench, &fit).await, Ok(Vec::new()), "{fit}");
    }
    let unfit = json!({ "from": 10, "password": "hunter22" });
    let fault = Fault {
        field: "monitors[1].config.to".into(),
        message: "is before `from` (10), says ***".into(),
    };
    assert_eq!(review(&bench, &unfit).await, Ok(vec![fault]));
    // What does not fit the schema is not shown to the plugin.
    let wrong = review(&bench, &json!({ "from": "x" })).await.unwrap_err();
    assert_eq!(wrong.reason(), Reason::InvalidConfig);
    // Runs do not ask.
    let seen = bench.run(&unfit.to_string(), PLENTY).await.unwrap();
    assert_eq!((seen.status, seen.message.as_str()), (Status::Up, "10 to 9"));
    // Most plugins have nothing to say.
    let silent = Bench::new("echo").await;
    assert_eq!(review(&silent, &json!({})).await, Ok(Vec::new()));
}

#[tokio::test]
async fn a_review_has_limits_and_a_plugin_that_goes_wrong_in_it_says_nothing() {
    let limits = RunLimits {
        cpu_ms: 100,
        ..RunLimits::default()
    };
    let settings = PluginSettings { limits, ..small() };
    let bench = Bench::with("validating", settings).await;
    let misdeed = |what: &str| json!({ "from": 1, "password": "hunter22", "misdeed": what });
    for (what, reason, part) in [
        (
            "panic",
            Reason::PluginTrap,
            "the plugin's `config-check` trapped: ",
        ),
        (
            "spin",
            Reason::PluginTimeout,
            "used up its processor time (`limits.cpu_ms`)",
        ),
    ] {
        let error = review(&bench, &misdeed(what)).await.unwrap_err();
        let (found, text) = (error.reason(), error.to_string());
        assert_eq!(found, reason, "{text}");
        assert!(text.contains(part) && !text.contains("hunter22"), "{text}");
    }
    let many = review(&bench, &misdeed("many")).await.unwrap();
    assert_eq!(many.len(), 21);
    assert_eq!(
        (
            many[3].field.as_str(),
            many[3].message.as_str(),
            many[20].message.as_str()
        ),
        ("monitors[1].config.list[3]", "bad", "and 80 more")
    );
}

#[tokio::test]
async fn a_trial_run_asks_first() {
    let host = PluginHost::new(small()).unwrap();
    let report = host.load_file(fixture("validating")).await;
    let plugin = report.plugin().unwrap();
    let trial = async |config: serde_json::Value| {
        let (cx, options) = (context(Duration::from_secs(20)), TrialOptions::default());
        plugin
            .trial("fixture-validating", &config.to_string(), &cx, options)
            .await
    };
    let unfit = trial(json!({ "from": 10 })).await.unwrap_err();
    assert_eq!(
        unfit,
        CheckError::InvalidConfig("`to`: is before `from` (10), says ".into())
    );
    let wrong = trial(json!({ "from": 1, "misdeed": "panic" })).await.unwrap();
    assert_eq!(wrong.result.reason, Some(Reason::PluginTrap), "{wrong:?}");
    assert_eq!(
        trial(json!({ "from": 1 })).await.unwrap().result.status,
        Status::Up
    );
}

#[tokio::test]
async fn a_config_check_of_another_form_is_refused() {
    let bytes = std::fs::read(fixture("validating")).unwrap();
    let host = PluginHost::new(small()).unwrap();
    // The names of the record's fields are all that tells the two forms apart.
    let mut other = bytes.clone();
    let places: Vec<usize> = (0..bytes.len() - 7)
        .filter(|&at| bytes[at..].starts_with(b"pointer"))
        .collect();
    for at in places {
        other[at..at + 7].copy_from_slice(b"painter");
    }
    let file = tempfile::Builder::new().suffix(".wasm").tempfile().unwrap();
    std::fs::write(file.path(), other).unwrap();
    let report = host.load_file(file.path()).await;
    let reason = refused(&report);
    assert!(
        reason.contains("does not fit the interface: `lapwing:plugin/config-check@1.0.0` has another form"),
        "{reason}"
    );
    let newer = checker(r#"(instance $v) (export "lapwing:plugin/config-check@2.0.0" (instance $v))"#);
    let report = host.load_file(wasm(&newer).path()).await;
    assert!(
        refused(&report).contains("built for lapwing:plugin@2.0.0"),
        "{}",
        refused(&report)
    );
}
