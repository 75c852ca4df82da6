//! `lapwing plugin inspect`: all that is known of one file.

mod page;

use super::{grants, subject};
use crate::{
    cli::{Exit, Shared, present},
    config::{Config, Environment},
    consent, console,
    kinds::native_kinds,
    role::{self, Role},
};
use clap::Args;
use lapwing_checks::KindInfo;
use lapwing_wasm::{Candidate, Data, PluginFolder, PluginHost, PluginReport, PluginState};
use serde::Serialize;
use std::{path::PathBuf, sync::Arc};

/// `lapwing plugin inspect`
#[derive(Debug, Args)]
#[command(after_help = "\
The file need not be in the plugin folder; whether it would serve there is told as the settings file and earlier decisions
have it, pins and signatures aside.

Exit codes: 0 it is a plugin, 2 it is none or claims a native kind, 64 no such file")]
pub(crate) struct InspectArgs {
    /// A component file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Print everything as JSON, with the schema and the example of each kind
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    shared: Shared,
}

/// What is known of a file.
#[derive(Debug, Serialize)]
struct Inspected {
    #[serde(flatten)]
    report: PluginReport,
    /// Its kinds, as `lapwing kinds` has them.
    executors: Vec<KindInfo>,
}

/// Runs it. Exits 2 if the file is no plugin.
pub(crate) fn main(args: &InspectArgs, environment: &Environment) -> anyhow::Result<Exit> {
    let config = Config::load(&args.shared.quiet(), environment)?;
    config.start_logging();
    present(&args.file)?;
    role::block_on(async {
        let host = Role::host(&config)?;
        let mut report = subject::load(&args.file, &host, !args.json).await;
        report.register(&mut native_kinds()?);
        let decisions = config
            .plugin_settings
            .data
            .as_ref()
            .map(|data| data.join("plugins.json"));
        let data = Arc::new(Data::open(config.plugin_settings.data.as_deref())?);
        if let Some(standing) = standing(&report, &host, &data).filter(|_| report.is_active()) {
            report.state = standing;
        }
        let kinds = report.plugin().into_iter().flat_map(|plugin| plugin.executors());
        let seen = Inspected {
            executors: kinds.map(|kind| kind.info().clone()).collect(),
            report,
        };
        console::line(&if args.json {
            serde_json::to_string_pretty(&seen)?
        } else {
            let grants = grants::table(&seen.report, &config.plugin_settings.grants);
            std::iter::once(seen.page(decisions.as_deref()))
                .chain(grants)
                .collect::<Vec<_>>()
                .join("\n\n")
        });
        Ok(if seen.report.failure().is_some() {
            Exit::Unknown
        } else {
            Exit::Up
        })
    })
}

/// Why a plugin would not serve from a folder, whole as it is: as the worker decides it.
fn standing(report: &PluginReport, host: &PluginHost, data: &Arc<Data>) -> Option<PluginState> {
    let about = report.about.as_ref()?;
    let digest = report.digest.as_deref().unwrap_or_default();
    let held = report
        .path
        .parent()
        .is_some_and(|folder| PluginFolder::is_held(folder, digest));
    if held || data.decisions().is_disabled(&report.name, digest) {
        return Some(PluginState::Disabled);
    }
    consent::enforce(host.custody(), data);
    let missing = consent::approver(host, data)(&Candidate {
        name: &report.name,
        version: &report.version,
        digest: report.digest.as_deref()?,
        capabilities: &about.capabilities,
        previous: None,
    });
    (!missing.is_empty()).then(|| PluginState::PendingApproval {
        reason: missing.join("; "),
    })
}
