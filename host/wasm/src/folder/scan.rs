//! Compares the folder with what is known of it, and loads what is new and whole.

use super::{
    Files, Shared,
    entry::{Entry, Loaded, Phase, Refused, Standing},
    look::{self, Listing, Look},
    uploads,
};
use crate::{load::LoadError, plugin::PluginState, text, trust::pins::Pins};
use std::{
    collections::HashSet,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Weak},
    time::Duration,
};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

/// A file is read when it did not change for this long.
pub(crate) const SETTLE: Duration = Duration::from_millis(300);
/// A file that ends too early is refused when it did not change for this long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);
/// The wait before a file is tried again that failed through no fault of its own; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest such wait.
const LONGEST_PAUSE: Duration = Duration::from_hours(1);

impl Shared {
    /// Looks once; `again` tries anew what was refused. Returns when to look next at the latest, if some file waits for
    /// that. Cancel safe: what was begun goes on by itself.
    pub(super) async fn scan(self: &Arc<Self>, again: bool) -> io::Result<Option<Instant>> {
        let _one = self.looking.lock().await;
        let shared = self.clone();
        let look = move || {
            if let Err(error) = shared.data.refresh() {
                tracing::warn!("{:#}", super::choose::chain(&error));
            }
            if let Err(error) = shared.remember() {
                tracing::warn!(
                    "whose kinds are whose is not kept: {:#}",
                    super::choose::chain(&error)
                );
            }
            look::folder(&shared.path)
        };
        let looked = tokio::task::spawn_blocking(look)
            .await
            .map_err(io::Error::other)?;
        let mut files = self.files();
        let (listing, pins) = match looked {
            Ok(looked) => looked,
            // One that never was is empty.
            Err(error) if error.kind() == io::ErrorKind::NotFound && files.folder.is_none() => {
                (Listing::default(), Pins::Absent)
            }
            Err(error) => {
                self.lose(&mut files, error.to_string());
                return Err(error);
            }
        };
        // What was being read when it went away is refused for that alone.
        let back = files.fault.take().is_some();
        if back {
            tracing::info!("plugin folder `{}` can be read again", self.path.display());
        }
        let repin = files.pins != pins;
        files.pins = pins;
        files.folder = listing.folder;
        // Under the lock, as one may have been let serve since.
        let held = listing.held.iter().cloned();
        files.held = held
            .filter(|digest| uploads::is_marked(&self.path, digest))
            .collect();
        let next = self.compare(&mut files, listing, again || repin || back);
        self.decide(&mut files);
        Ok(next)
    }

    /// What serves goes on serving: a folder that is away for a moment takes no monitor down. Said once.
    fn lose(&self, files: &mut Files, why: String) {
        if files.folder.is_some() && files.fault.as_ref() != Some(&why) {
            tracing::warn!(
                "cannot read plugin folder `{}`: {why}; what serves goes on serving",
                self.path.display()
            );
        }
        files.fault = Some(why);
    }

    fn compare(self: &Arc<Self>, files: &mut Files, listing: Listing, again: bool) -> Option<Instant> {
        let there: HashSet<PathBuf> = listing.files.iter().map(|look| look.path.clone()).collect();
        files.entries.retain(|path, entry| {
            let stays = there.contains(path);
            if !stays && (entry.serves() || entry.good.is_some()) {
                let file = text::line(&path.to_string_lossy(), 500);
                tracing::info!("plugin file `{file}` is gone; its kinds go with it");
            }
            stays
        });
        let mut next: Option<Instant> = None;
        for look in listing.files {
            if let Some(due) = self.update(files, look, again) {
                next = Some(next.map_or(due, |next| next.min(due)));
            }
        }
        next
    }

    /// One file; `Some` when it waits until then.
    fn update(self: &Arc<Self>, files: &mut Files, look: Look, again: bool) -> Option<Instant> {
        let now = Instant::now();
        let path = look.path.clone();
        let entry = files.entries.entry(path.clone()).or_insert_with(|| Entry {
            stamp: look.stamp.clone(),
            modified: look.modified,
            since: now,
            phase: Phase::Waiting(due(&look, now)),
            failures: 0,
            good: None,
            kept: None,
            said: String::new(),
        });
        if entry.stamp != look.stamp {
            let phase = std::mem::replace(&mut entry.phase, Phase::Waiting(due(&look, now)));
            if let Phase::Loaded(loaded, Standing::Serves) = phase {
                entry.good = Some(loaded);
            }
            (entry.stamp, entry.modified, entry.since) = (look.stamp, look.modified, now);
            entry.failures = 0;
        }
        let due = match &entry.phase {
            Phase::Waiting(due) => *due,
            Phase::Refused(_) if again => now,
            Phase::Refused(refused) => refused.again?,
            Phase::Loading { .. } | Phase::Loaded(..) => return None,
        };
        if due > now {
            return Some(due);
        }
        if let Some(unfit) = &entry.stamp.unfit {
            entry.phase = Phase::Refused(Refused::because(unfit.clone()));
            return None;
        }
        files.loads += 1;
        let number = files.loads;
        let job = tokio::spawn(load(Arc::downgrade(self), path.clone(), number));
        if let Some(entry) = files.entries.get_mut(&path) {
            entry.phase = Phase::Loading {
                number,
                state: PluginState::Validating,
                _job: AbortOnDropHandle::new(job),
            };
        }
        None
    }

    /// Puts the end of a load in force, unless it was overtaken.
    fn conclude(self: &Arc<Self>, path: &Path, number: u64, outcome: Result<Loaded, (LoadError, Refused)>) {
        let mut files = self.files();
        let entry = files.entries.get_mut(path);
        if let Some(entry) = entry.filter(|entry| is_load(&entry.phase, number)) {
            entry.phase = match outcome {
                Ok(loaded) => Phase::Loaded(loaded, Standing::Disabled),
                Err((LoadError::Truncated | LoadError::Empty, _)) if unfinished(entry) => {
                    Phase::Waiting(entry.since + PATIENCE)
                }
                Err((error, mut refused)) => {
                    if error.is_passing() {
                        refused.again = Some(Instant::now() + pause(entry.failures));
                        refused.reason.push_str("; it is tried again now and then");
                        entry.failures = entry.failures.saturating_add(1);
                    }
                    Phase::Refused(refused)
                }
            };
            self.decide(&mut files);
        }
        drop(files);
        self.wake.notify_one();
        self.concluded.notify_waiters();
    }

    fn advance(&self, path: &Path, number: u64, to: PluginState) {
        if let Some(entry) = self.files().entries.get_mut(path)
            && let Phase::Loading {
                number: mine, state, ..
            } = &mut entry.phase
            && *mine == number
        {
            *state = to;
        }
    }
}

fn is_load(phase: &Phase, number: u64) -> bool {
    matches!(phase, Phase::Loading { number: mine, .. } if *mine == number)
}

/// How long to wait after so many failures before: trouble that passes need not be asked after often, and what does not
/// pass must not keep the machine busy.
fn pause(failures: u32) -> Duration {
    FIRST_PAUSE
        .saturating_mul(1 << failures.min(16))
        .min(LONGEST_PAUSE)
}

/// When a file that was just seen may be read: at once, if it has not changed for a while by its own word.
fn due(look: &Look, now: Instant) -> Instant {
    if look.stamp.unfit.is_some() || look::age(look.modified) >= SETTLE {
        now
    } else {
        now + SETTLE
    }
}

/// Whether more may still come.
fn unfinished(entry: &Entry) -> bool {
    entry.since.elapsed() < PATIENCE && look::age(entry.modified) < PATIENCE
}

/// Loads one file. Holds on to nothing of the folder while it waits, so that the folder can go.
async fn load(shared: Weak<Shared>, path: PathBuf, number: u64) {
    let Some((host, pins)) = shared
        .upgrade()
        .map(|shared| (shared.host.clone(), shared.files().pins.clone()))
    else {
        return;
    };
    let stage = |state| {
        if let Some(shared) = shared.upgrade() {
            shared.advance(&path, number, state);
        }
    };
    let outcome = host.load_trusted(&path, &pins, &stage).await;
    if let Some(shared) = shared.upgrade() {
        shared.conclude(&path, number, outcome);
    }
}
