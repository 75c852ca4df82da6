//! Which plugins serve, decided over all files of the folder at once.
//!
//! Of several files of one plugin the newest version serves, then the file changed last; a content that does not serve
//! yet (or no more) leaves its predecessor serving. Whoever served before keeps its kinds against newcomers.

use super::{
    Files, Shared,
    entry::{Entry, Loaded, Phase, Standing},
};
use crate::{
    data::DataError,
    plugin::{Capability, Plugin, PluginState},
    text,
};
use lapwing_checks::Registry;
use semver::Version;
use std::{
    cmp::Ordering,
    collections::BTreeMap,
    error::Error,
    fmt::Write,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering::Relaxed},
};

/// Most characters of a line of the log.
const LOGGED: usize = 2000;

/// Asked before a plugin serves: what must an operator decide first? A line for each; none lets it serve. Called often,
/// with locks held: it must answer at once.
pub type Approver = Arc<dyn Fn(&Candidate<'_>) -> Vec<String> + Send + Sync>;

/// A plugin that could serve.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its version.
    pub version: &'a str,
    /// SHA-256 of its file, in hex.
    pub digest: &'a str,
    /// What it asks for.
    pub capabilities: &'a [Capability],
    /// What the content it would replace asks for.
    pub previous: Option<&'a [Capability]>,
}

/// A file's present content, or the one that goes on serving in its stead.
struct Choice {
    path: PathBuf,
    loaded: Loaded,
}

impl Shared {
    /// Decides, and puts it in force.
    pub(super) fn decide(&self, files: &mut Files) {
        let mut groups: BTreeMap<String, Vec<Choice>> = BTreeMap::new();
        let decisions = self.data.decisions();
        let required = self.host.requires_pins();
        let (pins, held) = (files.pins.clone(), files.held.clone());
        for (path, entry) in &mut files.entries {
            let allowed = |loaded: &Loaded| {
                let pinned = pins.judge(path, &loaded.digest, required);
                pinned.map_err(|error| Standing::Barred(error.to_string()))?;
                if decisions.is_disabled(&loaded.plugin.name, &loaded.digest) || held.contains(&loaded.digest)
                {
                    return Err(Standing::Disabled);
                }
                Ok(())
            };
            let last = entry.good.take().or_else(|| entry.kept.take());
            (entry.good, entry.kept) = match last {
                Some(last) if allowed(&last).is_ok() => (Some(last), None),
                last => (None, last),
            };
            let good = entry.good.as_ref();
            let previous = good.map(|good| &*good.plugin.about.capabilities);
            if let Phase::Loaded(loaded, standing) = &mut entry.phase {
                let asks = || (self.approver)(&loaded.candidate(previous));
                *standing = match allowed(loaded).map(|()| asks()) {
                    Ok(asks) if asks.is_empty() => Standing::Serves,
                    Ok(asks) => Standing::Pending(asks),
                    Err(standing) => standing,
                };
                if *standing == Standing::Serves {
                    entry.kept = None;
                    choice(&mut groups, path, loaded);
                    continue;
                }
            }
            if let Some(good) = good {
                choice(&mut groups, path, good);
            }
        }
        // Whose kinds were whose before a restart; those of a file that is still being looked at wait for it.
        let remembered = decisions.kinds.get(&self.path).cloned().unwrap_or_default();
        let busy = files.is_busy();
        let waited_for: BTreeMap<_, _> = remembered
            .iter()
            .filter(|(_, owner)| busy && !groups.contains_key(*owner))
            .collect();
        let rank = |name: &String| {
            let serves = files.serving.iter().any(|plugin| plugin.name == *name);
            (!serves, !remembered.values().any(|owner| owner == name))
        };
        let mut groups: Vec<_> = groups.into_iter().collect();
        groups.sort_by_key(|(name, _)| rank(name));
        let mut registry = self.base.clone();
        for (_, mut group) in groups {
            group.sort_by(newest_first);
            settle(files, &mut registry, group, &waited_for);
        }
        self.publish(files, registry);
    }

    /// Keeps in mind which plugin each kind is served by, once all files have come to a conclusion. Blocks.
    pub(super) fn remember(&self) -> Result<(), DataError> {
        if !self.watched.load(Relaxed) {
            return Ok(());
        }
        let kinds: BTreeMap<String, String> = {
            let files = self.files();
            if files.is_busy() || files.folder.is_none() {
                return Ok(());
            }
            let served = files.serving.iter();
            served
                .flat_map(|plugin| plugin.kinds().map(|kind| (kind, plugin.name.clone())))
                .collect()
        };
        let unchanged = |known: &BTreeMap<String, String>| *known == kinds;
        if self
            .data
            .decisions()
            .kinds
            .get(&self.path)
            .map_or(kinds.is_empty(), unchanged)
        {
            return Ok(());
        }
        self.data.change(|decisions| {
            // Folders that are gone have nothing to keep.
            decisions.kinds.retain(|folder, _| folder.is_dir());
            decisions.kinds.insert(self.path.clone(), kinds);
        })
    }

    fn publish(&self, files: &mut Files, registry: Registry) {
        for (path, entry) in &mut files.entries {
            entry.log(path);
        }
        let serving: Vec<_> = serving(files).cloned().collect();
        let before = std::mem::replace(&mut files.serving, serving);
        let same = before.len() == files.serving.len()
            && before
                .iter()
                .zip(&files.serving)
                .all(|(before, now)| Arc::ptr_eq(before, now));
        if !same {
            self.registry.send_replace(Arc::new(registry));
        }
    }
}

/// The plugins that serve, by file.
fn serving(files: &Files) -> impl Iterator<Item = &Arc<Plugin>> {
    files.entries.values().filter_map(|entry| match &entry.phase {
        _ if entry.good.is_some() => entry.good.as_ref().map(|good| &good.plugin),
        Phase::Loaded(loaded, Standing::Serves) => Some(&loaded.plugin),
        _ => None,
    })
}

fn choice(groups: &mut BTreeMap<String, Vec<Choice>>, path: &Path, loaded: &Loaded) {
    let group = groups.entry(loaded.plugin.name.clone()).or_default();
    group.push(Choice {
        path: path.to_owned(),
        loaded: loaded.clone(),
    });
}

/// A version that is none comes after every one that is.
fn newest_first(one: &Choice, other: &Choice) -> Ordering {
    let version = |choice: &Choice| Version::parse(&choice.loaded.plugin.version).ok();
    version(other)
        .cmp(&version(one))
        .then(other.loaded.modified.cmp(&one.loaded.modified))
        .then(one.path.cmp(&other.path))
}

/// Lets the first of `group` that can serve, and tells the others so.
fn settle(
    files: &mut Files,
    registry: &mut Registry,
    group: Vec<Choice>,
    waited_for: &BTreeMap<&String, &String>,
) {
    let mut superseded: Option<Standing> = None;
    for Choice { path, loaded } in group {
        let Some(entry) = files.entries.get_mut(&path) else {
            continue;
        };
        if let Some(standing) = &superseded {
            entry.good = None;
            entry.stand(standing.clone());
            continue;
        }
        let taken = |kind: String| {
            let owner = waited_for.get(&kind)?;
            Some(format!(
                "kind `{kind}` is kept for plugin `{owner}`, whose file is being looked at"
            ))
        };
        if let Some(why) = loaded.plugin.kinds().find_map(taken) {
            entry.stand(Standing::Barred(why));
            continue;
        }
        match loaded.plugin.register(registry) {
            Ok(()) if entry.serves() => entry.good = None,
            Ok(()) => {}
            Err(clash) => {
                entry.stand(Standing::Barred(clash.to_string()));
                let good = entry.good.take();
                entry.good = good.filter(|good| good.plugin.register(registry).is_ok());
                if entry.good.is_none() {
                    continue;
                }
            }
        }
        superseded = Some(Standing::Superseded(format!(
            "version {} of the same plugin serves from `{}`",
            loaded.plugin.version,
            path.file_name().unwrap_or_default().to_string_lossy()
        )));
    }
}

impl Loaded {
    fn candidate<'a>(&'a self, previous: Option<&'a [Capability]>) -> Candidate<'a> {
        Candidate {
            name: &self.plugin.name,
            version: &self.plugin.version,
            digest: &self.digest,
            capabilities: &self.plugin.about.capabilities,
            previous,
        }
    }
}

impl Entry {
    /// The present content's standing, if it could have served.
    fn stand(&mut self, new: Standing) {
        if let Phase::Loaded(_, standing @ Standing::Serves) = &mut self.phase {
            *standing = new;
        }
    }

    /// Says what changed, once.
    fn log(&mut self, path: &Path) {
        if self.is_busy() {
            return;
        }
        let report = self.report(path);
        let file = path.display();
        let (name, version) = (&report.name, &report.version);
        let said = match (&report.state, &report.degraded) {
            (_, Some(why)) => format!("plugin {name} {version} goes on serving: {why}"),
            (PluginState::Active | PluginState::Quarantined { .. }, None) => {
                let digest = report.digest.as_deref().and_then(|digest| digest.get(..12));
                let (digest, kinds) = (digest.unwrap_or_default(), report.kinds.join(", "));
                format!("plugin {name} {version} loaded: {kinds} (sha256 {digest}…)")
            }
            (PluginState::Failed { reason }, None) => format!("plugin file `{file}` refused: {reason}"),
            (state, None) => format!("plugin {name} {version} (`{file}`) is {state}"),
        };
        // Files choose their names, and links where they lead: none of them may write a line of its own.
        let said = text::line(&said, LOGGED);
        if said == self.said {
            return;
        }
        if report.is_active() && report.degraded.is_none() {
            tracing::info!("{said}");
        } else {
            tracing::warn!("{said}");
        }
        self.said = said;
    }
}

/// An error with its causes, on one line.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::{entry::Refused, look};
    use super::*;

    #[test]
    fn a_line_of_the_log_is_one_line_whatever_a_file_is_called() {
        let folder = tempfile::tempdir().unwrap();
        let name = "bad\u{1b}[31mred\nINFO fake line.wasm";
        std::fs::write(folder.path().join(name), "junk").unwrap();
        let look = look::list(folder.path()).unwrap().files.pop().unwrap();
        let mut entry = Entry {
            stamp: look.stamp,
            modified: look.modified,
            since: tokio::time::Instant::now(),
            phase: Phase::Refused(Refused::because("a link to `x\ny`".to_owned())),
            failures: 0,
            good: None,
            kept: None,
            said: String::new(),
        };
        entry.log(&look.path);
        let said = entry.said;
        assert!(
            said.ends_with("/badred INFO fake line.wasm` refused: a link to `x y`"),
            "{said:?}"
        );
    }
}
