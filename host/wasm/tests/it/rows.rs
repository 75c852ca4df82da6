//! The hostile set as a table: each misdeed by its number, with the fixtures that do it (or none, where the guest is
//! written in the test itself) and the tests that show what becomes of it. And every limit, with the test that trips it.

use lapwing_wasm::PluginSettings;
use std::{collections::BTreeSet, fs, path::Path};

struct Row {
    number: u32,
    what: &'static str,
    fixtures: &'static [&'static str],
    tests: &'static [&'static str],
}

const fn row(
    number: u32,
    what: &'static str,
    fixtures: &'static [&'static str],
    tests: &'static [&'static str],
) -> Row {
    Row {
        number,
        what,
        fixtures,
        tests,
    }
}

const ROWS: &[Row] = &[
    row(
        1,
        "endless loop",
        &["spin"],
        &[
            "a_busy_loop_ends_with_its_processor_time",
            "a_busy_loop_ends_with_its_budget",
            "bulk_operations_do_not_hold_off_the_end",
            "native_work_does_not_wait_for_spinning_guests",
        ],
    ),
    row(
        2,
        "endless loop while it is instantiated",
        &[],
        &["a_loop_in_a_start_function_ends_as_one_in_a_check"],
    ),
    row(
        3,
        "endless loop in `describe`",
        &["spin_describe"],
        &["unfit_descriptions_are_refused"],
    ),
    row(4, "memory without end", &["eat_memory"], &["memory_is_limited"]),
    row(
        5,
        "much memory, large tables, many memories at the start",
        &[],
        &[
            "components_that_want_too_much_are_refused",
            "what_does_not_fit_a_slot_is_refused_with_what_it_needs",
            "limits_at_the_start_follow_the_settings",
        ],
    ),
    row(
        6,
        "a thousand instances in one component",
        &[],
        &["what_does_not_fit_a_slot_is_refused_with_what_it_needs"],
    ),
    row(
        7,
        "stack overflow",
        &["stack_overflow"],
        &[
            "endless_recursion_ends_the_run_only",
            "calls_without_end_overflow_the_stack_of_their_run",
        ],
    ),
    row(
        8,
        "traps, panics, aborts",
        &["trap", "panicking", "trap_describe"],
        &[
            "traps_are_told_with_their_cause",
            "every_trap_is_told_by_its_name",
        ],
    ),
    row(
        9,
        "answers of megabytes",
        &["flood_output", "huge_schema"],
        &[
            "a_huge_answer_is_a_limit",
            "a_large_answer_within_the_limit_is_cut",
            "too_much_of_anything_in_an_answer_is_a_limit",
        ],
    ),
    row(
        10,
        "floods of log and output",
        &["flood_log", "flood_stderr"],
        &[
            "a_flood_of_log_is_no_fault_and_what_was_lost_is_counted",
            "a_flood_of_output_is_no_fault",
        ],
    ),
    row(
        11,
        "absurd numbers and JSON in an answer",
        &["wild_outcome"],
        &["a_wild_outcome_is_made_fit"],
    ),
    row(
        12,
        "broken text in an answer",
        &["wild_outcome"],
        &[
            "answers_against_the_canonical_abi_are_traps",
            "a_wide_string_at_the_end_of_memory_is_not_read_past_it",
            "a_wild_outcome_is_made_fit",
        ],
    ),
    row(
        13,
        "handles without end",
        &["flood_handles"],
        &["handles_are_limited"],
    ),
    row(
        14,
        "connections that are never closed",
        &["flood_handles"],
        &[
            "leaked_connections_hit_a_quota_and_are_closed",
            "the_number_of_connections_is_limited",
        ],
    ),
    row(
        15,
        "asleep past the budget",
        &["sleep_then_up"],
        &["a_guest_asleep_past_its_budget_is_a_plugin_timeout"],
    ),
    row(
        16,
        "host calls without end",
        &["flood_calls"],
        &["a_flood_of_calls_is_cut"],
    ),
    row(
        17,
        "servers that drip, stall in TLS, never answer a DNS query",
        &["slow_target", "tls_target", "traveller"],
        &[
            "a_target_that_never_answers_is_down_with_its_phase",
            "a_server_that_stalls_is_down_with_the_step_it_stalled_in",
            "a_server_that_drips_is_down_when_the_time_is_over",
        ],
    ),
    row(
        18,
        "files that are no components",
        &[],
        &[
            "files_that_are_no_components_are_refused_by_name",
            "precompiled_code_is_refused",
            "each_sort_of_file_has_its_own_reason",
            "a_file_that_never_ends_is_not_read",
        ],
    ),
    row(
        19,
        "another version, missing exports, unknown imports, a changed interface",
        &[],
        &[
            "components_of_another_world_are_refused",
            "a_changed_copy_of_the_interface_is_refused",
            "only_versions_this_host_speaks_pass",
        ],
    ),
    row(
        20,
        "features that are switched off",
        &[],
        &["features_that_are_switched_off_are_refused_by_name"],
    ),
    row(
        21,
        "compile bombs",
        &[],
        &[
            "a_bomb_is_refused_within_limits_and_the_worker_does_not_notice",
            "memory_and_time_have_limits_that_are_named",
            "a_bad_new_version_leaves_the_last_good_one_serving",
        ],
    ),
    row(
        22,
        "a thousand changes of a file a second",
        &[],
        &["a_thousand_changes_a_second_cause_one_compilation_at_a_time"],
    ),
    row(
        23,
        "forbidden addresses in every spelling",
        &["dial_denied", "steps"],
        &[
            "no_spelling_of_this_machine_is_reached_uninvited",
            "a_name_that_leads_to_this_machine_is_refused",
            "a_denied_address_is_no_outage",
            "an_impossible_host_is_the_configurations_fault",
        ],
    ),
    row(
        24,
        "names that change their address between look-up and connection",
        &["steps"],
        &["the_address_that_was_judged_is_the_one_that_is_dialled"],
    ),
    row(
        25,
        "redirects to forbidden places",
        &["steps", "traveller"],
        &[
            "a_redirect_leads_nowhere_that_is_not_permitted",
            "redirects_are_judged_hop_by_hop",
        ],
    ),
    row(
        26,
        "listening, spoofing and unresolved addresses through wasi:sockets",
        &["wasi_net"],
        &[
            "nobody_serves",
            "a_datagram_to_one_peer_is_no_right_to_write_to_another",
            "what_one_run_looked_up_is_nothing_to_another",
            "a_refused_peer_is_no_outage_and_gets_no_packet",
        ],
    ),
    row(
        27,
        "data smuggled out in DNS queries",
        &["steps"],
        &[
            "a_name_that_is_not_permitted_is_not_even_asked_about",
            "a_server_to_ask_is_a_place_like_any_other",
        ],
    ),
    row(
        28,
        "header smuggling",
        &["wasi_http"],
        &[
            "nothing_is_smuggled_in_a_request",
            "floods_of_fields_are_refused_and_never_a_panic",
        ],
    ),
    row(
        29,
        "another call after a trap or a dropped call",
        &[],
        &[
            "an_instance_that_trapped_is_not_entered_again",
            "an_instance_whose_call_was_dropped_is_not_entered_again",
        ],
    ),
    row(
        30,
        "random bytes, pollables, `exit`",
        &["hoarder", "exit", "wasi_misuse"],
        &[
            "wasi_gives_so_much_and_no_more",
            "the_host_keeps_no_request_that_nobody_would_send",
            "misuse_of_wasi_ends_the_run_and_nothing_else",
            "neither_exit_is_an_answer",
        ],
    ),
    row(
        31,
        "state of others, too large, too much",
        &["steps"],
        &[
            "a_monitor_remembers_and_another_knows_nothing",
            "too_much_is_refused_by_name",
        ],
    ),
    row(
        32,
        "a revealed secret said aloud",
        &["steps"],
        &["an_echoed_secret_is_masked_wherever_it_turns_up"],
    ),
    row(
        33,
        "a storm of all of them",
        &["trap", "panicking", "exit", "eat_memory"],
        &[
            "a_storm_leaves_a_host_as_it_was",
            "a_storm_of_faults_leaves_every_slot_free",
        ],
    ),
    row(
        34,
        "no slot free",
        &["sleep_then_up"],
        &["a_run_without_a_free_slot_says_so"],
    ),
    row(
        35,
        "broken or foreign files in the cache of compiled code",
        &[],
        &[
            "a_flipped_byte_is_noticed_wherever_it_is",
            "half_an_entry_is_none",
            "code_of_another_engine_is_not_run_even_with_the_right_digests",
        ],
    ),
    row(
        36,
        "instances that are used again and remember",
        &["keeper"],
        &[
            "nothing_of_a_run_is_left_for_the_next",
            "nobody_finds_what_another_left",
            "an_instance_is_not_kept_after_anything_amiss",
            "a_secret_it_was_shown_stays_hidden_in_later_runs",
        ],
    ),
];

/// Each setting under `plugins` that limits something, and the test that goes past it.
const LIMITS: &[(&str, &str)] = &[
    ("threads", "a_guest_that_gets_no_processor_is_not_at_fault"),
    ("concurrent_runs", "a_run_without_a_free_slot_says_so"),
    (
        "concurrent_runs_per_plugin",
        "one_plugin_does_not_take_every_slot",
    ),
    ("concurrent_heavy_runs", "heavy_plugins_wait_for_each_other"),
    ("total_memory_mib", "memory_that_other_runs_have_is_nobodys_fault"),
    ("max_reuse", "the_operator_may_allow_less_or_nothing"),
    ("kept_memory_mib", "the_operator_may_allow_less_or_nothing"),
    ("cache_mib", "code_larger_than_the_cache_is_refused"),
    ("compile.memory_mib", "memory_and_time_have_limits_that_are_named"),
    (
        "compile.cpu_seconds",
        "memory_and_time_have_limits_that_are_named",
    ),
    (
        "compile.wall_seconds",
        "a_child_that_hangs_is_killed_at_the_limit",
    ),
    ("file_mib", "a_large_file_is_refused"),
    ("limits.memory_mib", "memory_is_limited"),
    ("limits.cpu_ms", "a_busy_loop_ends_with_its_processor_time"),
    ("limits.describe_cpu_ms", "unfit_descriptions_are_refused"),
    ("limits.table_elements", "limits_at_the_start_follow_the_settings"),
    ("limits.tables", "counts_at_the_start_are_limited"),
    ("limits.memories", "counts_at_the_start_are_limited"),
    ("limits.instances", "counts_at_the_start_are_limited"),
    ("limits.stack_kib", "a_deep_stack_needs_a_large_one"),
    ("limits.hostcall_kib", "a_huge_answer_is_a_limit"),
    ("limits.handles", "handles_are_limited"),
    ("limits.host_resources", "what_wasi_keeps_for_a_guest_is_limited"),
    ("limits.random_kib", "what_wasi_keeps_for_a_guest_is_limited"),
    (
        "limits.log_kib",
        "a_flood_of_log_is_no_fault_and_what_was_lost_is_counted",
    ),
    ("limits.output_kib", "output_is_kept_as_far_as_it_may"),
    (
        "limits.open_sockets",
        "leaked_connections_hit_a_quota_and_are_closed",
    ),
    ("limits.connects", "the_number_of_connections_is_limited"),
    (
        "limits.dns_queries",
        "dns_asks_the_named_server_as_often_as_allowed",
    ),
    ("limits.network_kib", "bytes_on_the_network_are_limited"),
    (
        "quarantine.faults",
        "repeated_faults_quarantine_the_kind_and_no_other",
    ),
    (
        "quarantine.first_ms",
        "repeated_faults_quarantine_the_kind_and_no_other",
    ),
    ("quarantine.longest_ms", "rests_grow_until_a_run_is_well"),
];

/// The text of every Rust file of this crate.
fn sources() -> String {
    fn read(folder: &Path, all: &mut String) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                read(&path, all);
            } else if path.extension().is_some_and(|found| found == "rs") {
                all.push_str(&fs::read_to_string(path).unwrap());
            }
        }
    }
    let mut all = String::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for folder in ["src", "tests"] {
        read(&root.join(folder), &mut all);
    }
    all
}

fn is_test(sources: &str, name: &str) -> bool {
    let Some(at) = sources.find(&format!("fn {name}()")) else {
        return false;
    };
    let before = sources[..at].trim_end_matches("async ").trim_end();
    before.ends_with(")]") || before.ends_with("test]")
}

#[test]
fn every_misdeed_has_a_test_and_what_does_it() {
    let sources = sources();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/fixtures/examples");
    let numbers: Vec<_> = ROWS.iter().map(|row| row.number).collect();
    assert_eq!(numbers, (1..=36).collect::<Vec<_>>());
    for row in ROWS {
        assert!(!row.tests.is_empty(), "{} ({}) has no test", row.number, row.what);
        for test in row.tests {
            assert!(
                is_test(&sources, test),
                "{}: there is no test `{test}`",
                row.number
            );
        }
        for fixture in row.fixtures {
            assert!(
                fixtures.join(fixture).with_extension("rs").is_file(),
                "{}: there is no fixture `{fixture}`",
                row.number
            );
        }
    }
    assert!(!is_test(&sources, "no_such_test"), "the check can fail");
    assert!(!is_test(&sources, "sources"), "what is no test does not count");
}

#[test]
fn every_limit_has_a_test_that_goes_past_it() {
    let sources = sources();
    let settings = serde_json::to_value(PluginSettings::default()).unwrap();
    let mut there = BTreeSet::new();
    for (name, value) in settings.as_object().unwrap() {
        match value.as_object() {
            None if value.is_number() => {
                there.insert(name.clone());
            }
            None => {}
            Some(fields) => {
                let numbers = fields.iter().filter(|(_, value)| value.is_number());
                there.extend(numbers.map(|(field, _)| format!("{name}.{field}")));
            }
        }
    }
    let listed: BTreeSet<_> = LIMITS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(listed, there);
    for (limit, test) in LIMITS {
        assert!(is_test(&sources, test), "{limit}: there is no test `{test}`");
    }
}
