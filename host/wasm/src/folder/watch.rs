//! Says when to look at the folder: when the system tells of a change, when a file was to be waited for, and now and
//! then in any case.
//!
//! Notifications are a hint, never the truth: they can be lost (queues overflow, network drives have none), so the
//! folder is always compared as a whole, and slowly polled even where watching works.

use super::{Shared, uploads};
use notify::{
    EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode},
};
use std::{
    path::Path,
    sync::{Arc, Weak},
    time::Duration,
};
use tokio::time::{Instant, sleep, sleep_until};

/// Between two looks without any notification.
pub(super) const POLL: Duration = Duration::from_secs(5);
/// The same where watching does not work.
const POLL_BLIND: Duration = Duration::from_millis(500);
/// Changes come in bursts: those within this time are one.
const COALESCE: Duration = Duration::from_millis(50);

/// Eyes on one folder; another folder of the same name needs new ones.
struct Eyes {
    _watcher: RecommendedWatcher,
    folder: (u64, u64),
}

/// Runs until it is dropped, or the folder's owner is.
pub(super) async fn run(shared: Arc<Shared>) {
    let path = shared.path.clone();
    let _ = tokio::task::spawn_blocking(move || uploads::sweep(&path)).await;
    let mut eyes: Option<Eyes> = None;
    let mut blind = false;
    loop {
        // One that went away may come back as another.
        let folder = {
            let files = shared.files();
            files.folder.filter(|_| files.fault.is_none())
        };
        eyes = eyes.filter(|eyes| Some(eyes.folder) == folder);
        if eyes.is_none()
            && let Some(folder) = folder
        {
            match open(&shared, folder) {
                Ok(opened) => (eyes, blind) = (Some(opened), false),
                Err(error) if !blind => {
                    blind = true;
                    tracing::warn!(
                        "cannot watch plugin folder `{}`, polling it instead: {error}",
                        shared.path.display()
                    );
                }
                Err(_) => {}
            }
        }
        let poll = Instant::now() + if eyes.is_some() { POLL } else { POLL_BLIND };
        let next = shared.scan(false).await.unwrap_or_default();
        tokio::select! {
            () = shared.wake.notified() => sleep(COALESCE).await,
            () = sleep_until(next.map_or(poll, |next| next.min(poll))) => {}
        }
    }
}

fn open(shared: &Arc<Shared>, folder: (u64, u64)) -> notify::Result<Eyes> {
    let wake = Arc::downgrade(shared);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Reading, too, is told of: ours must not wake us.
        if event.is_ok_and(|event| !is_change(event.kind)) {
            return;
        }
        if let Some(shared) = Weak::upgrade(&wake) {
            shared.wake.notify_one();
        }
    })?;
    watcher.watch(Path::new(&shared.path), RecursiveMode::NonRecursive)?;
    Ok(Eyes {
        _watcher: watcher,
        folder,
    })
}

fn is_change(kind: EventKind) -> bool {
    !matches!(kind, EventKind::Access(access) if access != AccessKind::Close(AccessMode::Write))
}
