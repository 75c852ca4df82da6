//! Components that almost fit: built for a changed interface, or with features that are switched off. They are refused
//! when they are loaded, and nothing of them runs.

use crate::{
    raw::{Raw, built, file},
    support::{refused, small},
};
use lapwing_wasm::PluginHost;

/// A component of one core module that exports an empty checker.
fn module(inside: &str) -> Vec<u8> {
    let text = format!(
        r#"(component (core module $m {inside}) (core instance (instantiate $m))
           (instance $c) (export "lapwing:plugin/checker@1.0.0" (instance $c)))"#
    );
    wat::parse_str(text).unwrap()
}

async fn refusal(host: &PluginHost, bytes: &[u8]) -> String {
    refused(&host.load_file(file(bytes).path()).await).to_owned()
}

#[tokio::test]
async fn a_guest_of_the_interface_as_it_stands_is_loaded() {
    let host = PluginHost::new(small()).unwrap();
    let report = host.load_file(Raw::check("(i32.const 8192)").file().path()).await;
    assert_eq!(report.failure(), None);
    assert_eq!(report.kinds, ["fixture-raw"]);
}

#[tokio::test]
async fn a_changed_copy_of_the_interface_is_refused() {
    let host = PluginHost::new(small()).unwrap();
    // Built without the case `unknown` of `status`.
    let report = host.load_file(built("drifted.wasm")).await;
    let reason = refused(&report);
    assert!(reason.starts_with("does not fit the interface"), "{reason}");
    let whole = Raw::check("(i32.const 8192)").component();
    for (from, to) in [
        ("degraded", "degradee"),
        ("max-reuse", "min-reuse"),
        ("check-types", "check-tapes"),
    ] {
        let changed = replaced(&whole, from, to);
        assert_ne!(changed, whole, "{from}");
        let reason = refusal(&host, &changed).await;
        assert!(reason.starts_with("does not fit the interface"), "{to}: {reason}");
    }
    let next = replaced(
        &whole,
        "lapwing:plugin/checker@1.0.0",
        "lapwing:plugin/checker@2.0.0",
    );
    assert_eq!(
        refusal(&host, &next).await,
        "built for lapwing:plugin@2.0.0, this worker supports 1.0; rebuild it with a matching SDK"
    );
}

/// With every occurrence of one text changed for another that is as long.
fn replaced(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut changed = bytes.to_vec();
    for at in 0..=bytes.len() - from.len() {
        if bytes[at..].starts_with(from.as_bytes()) {
            changed[at..at + to.len()].copy_from_slice(to.as_bytes());
        }
    }
    changed
}

#[tokio::test]
async fn features_that_are_switched_off_are_refused_by_name() {
    let host = PluginHost::new(small()).unwrap();
    for (inside, part) in [
        ("(memory i64 1)", "memory64"),
        ("(memory 1) (memory 1)", "multi"),
        ("(memory 1 2 shared)", "threads"),
        ("(type (struct (field i32)))", "gc"),
        ("(tag)", "exceptions"),
        (
            "(func (result v128) (i32x4.relaxed_trunc_f32x4_s (v128.const i32x4 0 0 0 0)))",
            "relaxed",
        ),
        ("(memory 1 (pagesize 1))", "page size"),
        ("(type $f (func)) (type (cont $f))", "stack switching"),
    ] {
        let reason = refusal(&host, &module(inside)).await;
        assert!(
            reason.starts_with("not a valid component") && reason.to_lowercase().contains(part),
            "{inside}: {reason}"
        );
    }
}

#[tokio::test]
async fn what_does_not_fit_a_slot_is_refused_with_what_it_needs() {
    let host = PluginHost::new(small()).unwrap();
    let many = |inside: &str, count: usize| {
        let text = format!(
            r#"(component (core module $m {inside}) {}
               (instance $c) (export "lapwing:plugin/checker@1.0.0" (instance $c)))"#,
            "(core instance (instantiate $m))".repeat(count)
        );
        wat::parse_str(text).unwrap()
    };
    for (inside, count, part) in [
        ("(memory 1025)", 1, "64 MiB"),
        ("(memory 65536)", 1, "memory"),
        ("(table 100000000 funcref)", 1, "table"),
        ("(memory 1)", 60, "memories"),
        ("(table 1 funcref)", 60, "tables"),
        ("", 1000, "instances"),
    ] {
        let reason = refusal(&host, &many(inside, count)).await;
        assert!(reason.contains(part), "{count} of `{inside}`: {reason}");
    }
}
