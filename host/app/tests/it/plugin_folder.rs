//! The plugin folder of a running `lapwing`, its compiling child, and the commands that say what may be loaded.

use crate::support::{
    eventually, plugins,
    process::{Daemon, lapwing, say},
};
use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

const SOON: Duration = Duration::from_secs(20);

const MONITORS: &str = "[[monitors]]\nname = \"self\"\nkind = \"tcp\"\ninterval = \"60s\"\n\
                        [monitors.config]\nhost = \"127.0.0.1\"\nport = 1\n";

/// `lapwing run` with an empty plugin folder.
fn running(root: &Path) -> (Daemon, std::path::PathBuf) {
    let folder = root.join("plugins");
    fs::create_dir(&folder).unwrap();
    let config = root.join("lapwing.toml");
    fs::write(&config, MONITORS).unwrap();
    let mut command = lapwing();
    command
        .arg("run")
        .arg("--config")
        .arg(&config)
        .arg("--plugins")
        .arg(&folder);
    (Daemon::start(command), folder)
}

async fn state(daemon: &Daemon) -> String {
    let (_, body) = daemon.get("/api/v1/plugins").await;
    body["plugins"][0]["state"]
        .as_str()
        .unwrap_or("absent")
        .to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_worker_takes_up_what_is_dropped_and_drops_what_is_removed() {
    let root = tempfile::tempdir().unwrap();
    let (daemon, folder) = running(root.path());
    assert_eq!(state(&daemon).await, "absent");
    fs::copy(plugins().join("smtp.wasm"), folder.join("smtp.wasm")).unwrap();
    eventually("smtp serves", SOON, async || state(&daemon).await == "active").await;
    let (_, body) = daemon.get("/api/v1/executors").await;
    assert!(body.to_string().contains("\"smtp\""), "{body}");
    fs::write(folder.join("smtp.wasm"), "(component)").unwrap();
    eventually("the bad version is told", SOON, async || {
        let (_, body) = daemon.get("/api/v1/plugins").await;
        let report = &body["plugins"][0];
        let why = report["degraded"].as_str().unwrap_or_default();
        report["state"] == "active" && why.contains("new version: failed: WebAssembly text")
    })
    .await;
    fs::remove_file(folder.join("smtp.wasm")).unwrap();
    eventually("its kinds are gone", SOON, async || {
        state(&daemon).await == "absent"
    })
    .await;
}

/// The children of a process, by the kernel's own list.
fn children(pid: u32) -> Vec<String> {
    let path = format!("/proc/{pid}/task");
    let tasks = fs::read_dir(path).into_iter().flatten().flatten();
    tasks
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|pids| pids.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

#[test]
fn a_worker_killed_while_it_compiles_takes_its_child_along_and_leaves_no_harm() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("plugins");
    fs::create_dir(&folder).unwrap();
    fs::copy(plugins().join("smtp.wasm"), folder.join("smtp.wasm")).unwrap();
    let list = || {
        let mut command = lapwing();
        command
            .args(["plugin", "list", "--plugins"])
            .arg(&folder)
            .env("XDG_CACHE_HOME", root.path());
        command
    };
    let mut worker = list()
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let limit = Instant::now() + SOON;
    let child = loop {
        if let Some(child) = children(worker.id()).pop() {
            break child;
        }
        assert!(Instant::now() < limit, "it never compiled");
        assert!(
            worker.try_wait().unwrap().is_none(),
            "it was too quick to be killed"
        );
        std::thread::yield_now();
    };
    worker.kill().unwrap();
    worker.wait().unwrap();
    let stat = format!("/proc/{child}/stat");
    while fs::read_to_string(&stat).is_ok_and(|stat| stat.contains("lapwing") && !stat.contains(") Z ")) {
        assert!(Instant::now() < limit, "the child outlives the worker");
        std::thread::yield_now();
    }
    let output = list().output().unwrap();
    let out = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && out.contains("active"), "{out}");
}

#[test]
fn a_locked_folder_refuses_what_is_new_and_says_which_line_to_add() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().to_str().unwrap();
    fs::copy(plugins().join("smtp.wasm"), root.path().join("smtp.wasm")).unwrap();
    let said = say(&["plugin", "lock", "--plugins", folder]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.out.contains("1 plugins pinned"), "{}", said.out);
    let said = say(&["plugin", "list", "--plugins", folder]);
    assert_eq!(said.code, 0, "{} {}", said.out, said.err);
    fs::copy(
        plugins().join("fixtures/echo.wasm"),
        root.path().join("echo.wasm"),
    )
    .unwrap();
    let said = say(&["plugin", "list", "--plugins", folder]);
    assert_eq!(said.code, 2);
    assert!(
        said.out
            .contains("not pinned in `plugins.lock`: if you trust the file, add `"),
        "{}",
        said.out
    );
}

#[test]
fn what_is_signed_is_verified_and_what_was_changed_is_not() {
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name).to_str().unwrap().to_owned();
    let (key, public, file) = (path("ours.key"), path("ours.pub"), path("smtp.wasm"));
    fs::copy(plugins().join("smtp.wasm"), &file).unwrap();
    let said = say(&["plugin", "keygen", &key]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.out.contains("trusted_keys = [\"RW"), "{}", said.out);
    let mode = Command::new("stat").args(["-c", "%a", &key]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&mode.stdout).trim(), "600");
    assert_eq!(
        say(&["plugin", "keygen", &key]).code,
        64,
        "a key is never overwritten"
    );

    let swapped = say(&["plugin", "sign", &file, "--key", &public]);
    assert_eq!(swapped.code, 64, "{}", swapped.err);
    assert!(
        swapped
            .err
            .contains("ours.pub`: it is a public key; expected the secret one"),
        "{}",
        swapped.err
    );
    let junk = say(&["plugin", "sign", &file, "--key", &file]);
    assert_eq!(junk.code, 64, "{}", junk.err);
    let none = say(&["plugin", "sign", &path("none.wasm"), "--key", &key]);
    assert_eq!(none.code, 64, "{}", none.err);

    let verify = || say(&["plugin", "verify", &file, "--key", &public]);
    assert!(verify().err.contains("is missing"), "{}", verify().err);
    let said = say(&["plugin", "sign", &file, "--key", &key]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert_eq!(verify().code, 0, "{}", verify().err);
    let mut bytes = fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&file, bytes).unwrap();
    let said = verify();
    assert_eq!(said.code, 2);
    assert!(
        said.err.contains(&format!("fits not --key `{public}`")) && !said.err.contains("trusted_keys"),
        "{}",
        said.err
    );
    for wrong in ["RWx", &file, &key, &path("none.pub")] {
        let said = say(&["plugin", "verify", &file, "--key", wrong]);
        assert!(
            said.code == 64 && said.err.contains("--key") && !said.err.contains("trusted_keys"),
            "{wrong}: {} {}",
            said.code,
            said.err
        );
    }
}

/// A folder with a settings file, the plugin `greedy.wasm`, and a data folder of its own.
fn settled(settings: &str) -> (tempfile::TempDir, String) {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("plugins")).unwrap();
    fs::copy(
        plugins().join("fixtures/greedy.wasm"),
        root.path().join("plugins/greedy.wasm"),
    )
    .unwrap();
    let file = root.path().join("lapwing.toml");
    let (folder, data) = (root.path().join("plugins"), root.path().join("data"));
    let text = format!(
        "[plugins]\ndir = \"{}\"\ndata = \"{}\"\n{settings}",
        folder.display(),
        data.display()
    );
    fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap().to_owned();
    (root, file)
}

#[test]
fn the_grant_that_is_printed_can_be_pasted_at_the_end_of_any_file() {
    let (_root, file) = settled("[log]\nlevel = \"info\"\n");
    let list = || say(&["plugin", "list", "--settings", &file]);
    let said = list();
    // In one line there is no room for a table: the line is told with the table it belongs to.
    let line = "`hosts = [\"relay.test:25\"]` in `[plugins.grants.fixtures]`";
    assert!(
        said.out.contains(line) && !said.out.contains("plugins.grants.fixtures.hosts"),
        "{}",
        said.out
    );
    let table = said
        .out
        .find("\n[plugins.grants.")
        .unwrap_or_else(|| panic!("{}", said.out));
    let text = fs::read_to_string(&file).unwrap() + &said.out[table..];
    fs::write(&file, text).unwrap();
    let said = list();
    assert!(
        said.code == 0 && said.out.contains("active") && !said.out.contains("[plugins.grants."),
        "{}{}",
        said.out,
        said.err
    );
}

#[test]
fn list_tells_what_is_wrong_with_the_settings_and_which_grants_are_nobodys() {
    let monitor = "[plugins.grants.nope]\nstate = true\n[plugins.grants.fixtures]\nhosts = [\"relay.test:25\"]\n\
                   [[monitors]]\nname = \"a\"\nkind = \"smtp\"\n[monitors.config]\nhost = \"127.0.0.1\"\n\
                   plugins.grants.fixtures.hosts = [\"relay.test:25\"]\n";
    let (root, file) = settled(monitor);
    fs::copy(plugins().join("smtp.wasm"), root.path().join("plugins/smtp.wasm")).unwrap();
    let said = say(&["plugin", "list", "--settings", &file]);
    assert_eq!(said.code, 64, "{}{}", said.out, said.err);
    for part in [
        "`plugins.grants` has `nope`, but no plugin",
        "monitors[0].config.plugins: unknown field",
    ] {
        assert!(said.err.contains(part), "{part} in {}", said.err);
    }
}

#[test]
fn a_plugin_is_switched_off_and_on_from_the_command_line() {
    let (root, file) = settled("[plugins.grants.fixtures]\nhosts = [\"relay.test:25\"]\n");
    let plugin = |verb: &str, rest: &[&str]| say(&[&["plugin", verb, "--settings", &file], rest].concat());
    let kept = root.path().join("data/plugins.json");
    let kept = kept.to_str().unwrap();
    let said = plugin("disable", &["fixtures"]);
    assert!(
        said.code == 0 && said.out.contains(kept),
        "{}{}",
        said.out,
        said.err
    );
    let said = plugin("list", &[]);
    assert!(
        said.out
            .contains(&format!("disabled in `{kept}`; `lapwing plugin enable fixtures`")),
        "{}",
        said.out
    );
    let greedy = root.path().join("plugins/greedy.wasm");
    let said = plugin("inspect", &[greedy.to_str().unwrap()]);
    assert!(
        said.out.contains(&format!("disabled in `{kept}`")),
        "{}",
        said.out
    );
    let said = say(&["check", "fixture-greedy", "--settings", &file]);
    assert!(
        said.code == 64 && said.out.contains(kept) && said.out.contains("`lapwing plugin enable fixtures`"),
        "{}{}",
        said.out,
        said.err
    );
    assert_eq!(plugin("enable", &["fixtures"]).code, 0);
    assert!(plugin("list", &[]).out.contains("active"));
    let said = plugin("disable", &["fixture"]);
    assert!(
        said.code == 64 && said.err.contains("known: `fixtures`"),
        "{}",
        said.err
    );
}
