//! The hostile set beyond `misdeeds`: what only hand-written guests do, what servers do to guests, and that a host is as
//! before once a misdeed is over. `rows` says which test stands for which misdeed.

use crate::{
    raw::{ANSWER, Raw},
    support::{Bench, PLENTY, Probed, add, at_rest, context, fixture, small, unknown},
};
use lapwing_model::{Reason, Status};
use lapwing_wasm::{PluginSettings, RunLimits};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, UdpSocket};

/// As small as can be, with so much processor time.
fn cpu(cpu_ms: u32) -> PluginSettings {
    PluginSettings {
        limits: RunLimits {
            cpu_ms,
            ..RunLimits::default()
        },
        ..small()
    }
}

/// Runs one guest; then its host must hold nothing, and serve another as ever.
async fn alone(bench: &Bench, config: &str, budget: Duration) -> Probed {
    let ended = bench.run(config, budget).await;
    at_rest(&bench.host).await;
    let mut registry = bench.registry.clone();
    let neighbour = add(&bench.host, &mut registry, &fixture("echo")).await;
    let seen = registry
        .executor(&neighbour)
        .unwrap()
        .execute("{}", &context(PLENTY))
        .await;
    assert_eq!(seen.unwrap().status, Status::Up, "a neighbour suffers");
    ended
}

async fn raw(raw: &Raw, settings: PluginSettings) -> Probed {
    let bench = Bench::of(raw.file().path(), settings).await;
    alone(&bench, "{}", PLENTY).await
}

#[tokio::test]
async fn bulk_operations_do_not_hold_off_the_end() {
    let fill = Raw::check(
        "(drop (memory.grow (i32.const 900)))
         (loop $again
           (memory.fill (i32.const 65536) (i32.const 7) (i32.const 58982400))
           (br $again))
         (unreachable)",
    );
    let begun = Instant::now();
    let (reason, message) = unknown(raw(&fill, cpu(100)).await);
    assert_eq!(reason, Reason::PluginTimeout);
    assert!(message.contains("limits.cpu_ms"), "{message}");
    assert!(begun.elapsed() < PLENTY / 2, "long before the budget");
}

#[tokio::test]
async fn a_loop_in_a_start_function_ends_as_one_in_a_check() {
    let mut start = Raw::check("(i32.const 8192)");
    start.imports = r#"(import "lapwing:plugin/context@1.0.0" "remaining" (func $remaining (result i64)))"#;
    // While it is described it has a few seconds, and behaves; a run has the monitor's timeout.
    start.items = "(func $begin
        (loop $again (br_if $again (i64.gt_u (call $remaining) (i64.const 16000000000)))))
      (start $begin)";
    let (reason, message) = unknown(raw(&start, cpu(100)).await);
    assert_eq!(reason, Reason::PluginTimeout);
    assert!(message.contains("limits.cpu_ms"), "{message}");
}

#[tokio::test]
async fn a_flood_of_calls_is_cut() {
    let bench = Bench::with("flood_calls", cpu(200)).await;
    let (reason, message) = unknown(alone(&bench, "{}", PLENTY).await);
    assert_eq!(reason, Reason::PluginTimeout);
    assert!(message.contains("limits.cpu_ms"), "{message}");
    let bench = Bench::with("flood_calls", cpu(60_000)).await;
    let (reason, message) = unknown(alone(&bench, "{}", Duration::from_millis(300)).await);
    assert_eq!(reason, Reason::PluginTimeout);
    assert!(message.contains("budget"), "{message}");
}

#[tokio::test]
async fn calls_without_end_overflow_the_stack_of_their_run() {
    let mut recursion = Raw::check("(call $deeper (i32.const 0)) (unreachable)");
    recursion.items = "(func $deeper (param i32) (call $deeper (i32.add (local.get 0) (i32.const 1))))";
    let (reason, message) = unknown(raw(&recursion, small()).await);
    assert_eq!(
        (reason, message.as_str()),
        (
            Reason::PluginLimit,
            "the plugin went past its stack limit (`limits.stack_kib`)"
        )
    );
}

#[tokio::test]
async fn every_trap_is_told_by_its_name() {
    for (check, cause) in [
        ("(unreachable)", "unreachable"),
        (
            "(i32.div_u (i32.const 1) (i32.const 0))",
            "integer divide by zero",
        ),
        (
            "(i32.div_s (i32.const 0x80000000) (i32.const -1))",
            "integer overflow",
        ),
        (
            "(i32.trunc_f32_s (f32.const nan))",
            "invalid conversion to integer",
        ),
        ("(i32.load (i32.const -4))", "out of bounds memory access"),
        (
            "(call_indirect (result i32) (i32.const 0))",
            "uninitialized element",
        ),
        (
            "(call_indirect (result i32) (i32.const 9))",
            "out of bounds table access",
        ),
        (
            "(call_indirect (result i64) (i32.const 1)) (i32.wrap_i64)",
            "indirect call type mismatch",
        ),
    ] {
        let mut guest = Raw::check(check);
        guest.items = "(table 2 funcref) (func $some) (elem (i32.const 1) $some)";
        let (reason, message) = unknown(raw(&guest, small()).await);
        assert_eq!(reason, Reason::PluginTrap, "{check}: {message}");
        assert!(message.contains(cause), "{check}: {message}");
    }
}

/// An answer whose message lies at 9000 and has so many bytes.
fn saying(check: &'static str, text: &'static str) -> Raw {
    let mut guest = Raw::check(check);
    guest.items = text;
    guest
}

const MESSAGE: &str =
    "(i32.store (i32.const 8216) (i32.const 9000)) (i32.store (i32.const 8220) (i32.const 4))
    (i32.const 8192)";

#[tokio::test]
async fn answers_against_the_canonical_abi_are_traps() {
    assert_eq!(ANSWER, 8192);
    for (guest, cause) in [
        // A continuation byte alone, a surrogate, an overlong slash, a code point past the last.
        (saying(MESSAGE, r#"(data (i32.const 9000) "ab\80c")"#), "utf-8"),
        (
            saying(MESSAGE, r#"(data (i32.const 9000) "a\ed\a0\80")"#),
            "utf-8",
        ),
        (saying(MESSAGE, r#"(data (i32.const 9000) "ab\c0\af")"#), "utf-8"),
        (
            saying(MESSAGE, r#"(data (i32.const 9000) "\f4\90\80\80")"#),
            "utf-8",
        ),
        (
            Raw::check(
                "(i32.store (i32.const 8216) (i32.const 65530)) (i32.store (i32.const 8220) (i32.const 7)) (i32.const 8192)",
            ),
            "out of bounds",
        ),
        (
            Raw::check(
                "(i32.store (i32.const 8248) (i32.const 9000)) (i32.store (i32.const 8252) (i32.const -1)) (i32.const 8192)",
            ),
            "out of bounds",
        ),
        (
            Raw::check("(i32.store8 (i32.const 8200) (i32.const 9)) (i32.const 8192)"),
            "discriminant",
        ),
        (Raw::check("(i32.const 8193)"), "align"),
        (Raw::check("(i32.const -8)"), "out of bounds"),
    ] {
        let (reason, message) = unknown(raw(&guest, small()).await);
        assert_eq!(reason, Reason::PluginTrap, "{}: {message}", guest.check);
        assert!(
            message.to_lowercase().contains(cause),
            "{}{}: {message}",
            guest.items,
            guest.check
        );
    }
    let fine = raw(&saying(MESSAGE, r#"(data (i32.const 9000) "fine")"#), small())
        .await
        .unwrap();
    assert_eq!((fine.status, fine.message.as_str()), (Status::Up, "fine"));
}

#[tokio::test]
async fn a_wide_string_at_the_end_of_memory_is_not_read_past_it() {
    let wide = |check| {
        let mut guest = Raw::check(check);
        guest.wide = true;
        guest
    };
    let whole = "(i32.store (i32.const 8216) (i32.const 65528)) (i32.store (i32.const 8220) (i32.const 4))
        (i64.store (i32.const 65528) (i64.const 0x0021_0069_0061_0068)) (i32.const 8192)";
    assert_eq!(raw(&wide(whole), small()).await.unwrap().message, "hai!");
    let past = "(i32.store (i32.const 8216) (i32.const 65528)) (i32.store (i32.const 8220) (i32.const 5))
        (i32.const 8192)";
    let (reason, message) = unknown(raw(&wide(past), small()).await);
    assert_eq!(reason, Reason::PluginTrap);
    assert!(message.contains("out of bounds"), "{message}");
    let half = "(i32.store (i32.const 8216) (i32.const 9000)) (i32.store (i32.const 8220) (i32.const 1))
        (i32.store16 (i32.const 9000) (i32.const 0xd800)) (i32.const 8192)";
    let (reason, message) = unknown(raw(&wide(half), small()).await);
    assert_eq!(reason, Reason::PluginTrap, "half a surrogate pair");
    assert!(message.contains("surrogate"), "{message}");
}

#[tokio::test]
async fn too_much_of_anything_in_an_answer_is_a_limit() {
    for of in ["metrics", "details"] {
        let settings = PluginSettings {
            limits: RunLimits {
                memory_mib: 256,
                cpu_ms: 20_000,
                ..RunLimits::default()
            },
            ..small()
        };
        let bench = Bench::with("flood_output", settings).await;
        let (reason, message) = unknown(alone(&bench, &format!(r#"{{"of":"{of}"}}"#), PLENTY).await);
        assert_eq!(
            (reason, message.as_str()),
            (
                Reason::PluginLimit,
                "the plugin went past its hostcall bytes limit (`limits.hostcall_kib`)"
            ),
            "{of}"
        );
    }
}

#[tokio::test]
async fn wasi_gives_so_much_and_no_more() {
    let bench = Bench::new("hoarder").await;
    let modest = alone(&bench, r#"{"of":"random","count":65536}"#, PLENTY)
        .await
        .unwrap();
    assert_eq!(modest.message, "65536 of 65536");
    let modest = alone(&bench, r#"{"of":"timers","count":300}"#, PLENTY)
        .await
        .unwrap();
    assert_eq!(modest.message, "300 of 300");
    let (reason, message) = unknown(alone(&bench, r#"{"of":"random","count":67108864}"#, PLENTY).await);
    assert_eq!(reason, Reason::PluginLimit, "{message}");
    assert!(message.contains("random bytes"), "{message}");
    let (reason, message) = unknown(alone(&bench, r#"{"of":"timers","count":1000000}"#, PLENTY).await);
    assert_eq!(reason, Reason::PluginLimit, "{message}");
}

#[tokio::test]
async fn neither_exit_is_an_answer() {
    let bench = Bench::new("exit").await;
    for code in [0, 1] {
        let (reason, message) = unknown(alone(&bench, &format!(r#"{{"code":{code}}}"#), PLENTY).await);
        assert_eq!(reason, Reason::PluginTrap);
        assert!(message.contains(&format!("`exit({code})`")), "{message}");
    }
}

#[tokio::test]
async fn a_server_that_stalls_is_down_with_the_step_it_stalled_in() {
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let tcp = mute.local_addr().unwrap().port();
    let held = tokio::spawn(async move {
        let mut connections = Vec::new();
        while let Ok((connection, _)) = mute.accept().await {
            connections.push(connection);
        }
    });
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let udp = silent.local_addr().unwrap().port();
    for (guest, config, reason) in [
        (
            "tls_target",
            format!(r#"{{"host":"127.0.0.1","port":{tcp}}}"#),
            Reason::TlsTimeout,
        ),
        (
            "traveller",
            format!(r#"{{"via":"dns","host":"127.0.0.1","name":"lapwing.test","port":{udp}}}"#),
            Reason::DnsTimeout,
        ),
        (
            "traveller",
            format!(r#"{{"via":"http","url":"http://127.0.0.1:{tcp}/"}}"#),
            Reason::ResponseTimeout,
        ),
    ] {
        let bench = Bench::new(guest).await;
        let seen = alone(&bench, &config, Duration::from_secs(1)).await.unwrap();
        assert_eq!(
            (seen.status, seen.reason.as_ref()),
            (Status::Down, Some(&reason)),
            "{guest}: {seen:?}"
        );
    }
    held.abort();
}

#[tokio::test]
async fn a_server_that_drips_is_down_when_the_time_is_over() {
    use tokio::io::AsyncWriteExt;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                while stream.write_all(b"x").await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            });
        }
    });
    let bench = Bench::new("traveller").await;
    let config = format!(r#"{{"via":"tcp","host":"127.0.0.1","port":{port},"bytes":100000}}"#);
    let seen = alone(&bench, &config, Duration::from_secs(1)).await.unwrap();
    assert_eq!(
        (seen.status, seen.reason),
        (Status::Down, Some(Reason::ResponseTimeout))
    );
}

#[tokio::test]
async fn nothing_of_a_run_is_left_for_the_next() {
    let mark = Raw::check(
        "(if (i32.load8_u (i32.const 9000)) (then (unreachable)))
         (i32.store8 (i32.const 9000) (i32.const 1))
         (i32.const 8192)",
    );
    let bench = Bench::of(mark.file().path(), small()).await;
    for _ in 0..50 {
        let seen = alone(&bench, "{}", PLENTY).await.unwrap();
        assert_eq!(seen.status, Status::Up);
    }
}
