//! `config-check`, which a plugin may export beside its checker: what is wrong with a configuration that fits its schema.
//!
//! Asked where somebody sets up or tries out a monitor, not in its runs, with no rights and the budget of a run. The
//! plugin's answer is made fit to be shown; a plugin that goes wrong here says nothing of the configuration.

use crate::{
    abi::v1::{CONFIG_CHECK, PluginPre},
    guest::{Errand, Guest},
    load::LoadError,
    mask::Mask,
    run::{Ending, Runner, conclude, metered},
    settings::RunLimits,
    slots::Line,
    text,
};
use lapwing_checks::{
    CheckError,
    schema::{self, Fault},
};
use lapwing_model::Reason;
use std::{pin::pin, sync::Arc};
use wasmtime::component::{
    Component, ComponentExportIndex, ComponentType, Lift,
    types::{ComponentFunc, ComponentItem, Type},
};

/// Most problems that are told.
const SHOWN: usize = 20;
/// Longest text of one, and of a fault of the plugin's.
const TEXT: usize = 300;

/// A plugin's own check of configurations.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Validation(ComponentExportIndex);

#[derive(Debug, ComponentType, Lift)]
#[component(record)]
struct Problem {
    pointer: String,
    message: String,
}

impl Validation {
    /// That of `component`, if it has one. `Err` when it is of another form than this host's.
    pub(crate) fn of(component: &Component) -> Result<Option<Self>, LoadError> {
        let Some(interface) = component.get_export_index(None, CONFIG_CHECK) else {
            return Ok(None);
        };
        match component.get_export(Some(&interface), "validate") {
            Some((ComponentItem::ComponentFunc(function), index)) if fits(&function) => Ok(Some(Self(index))),
            _ => Err(LoadError::Mismatch(format!("`{CONFIG_CHECK}` has another form"))),
        }
    }

    /// Everything the plugin finds wrong with `config`, a configuration of the kind that `errand` names; fields start
    /// with `root`. `Err` when it could not say. Ends by the errand's deadline; cancel safe.
    pub(crate) async fn ask(
        self,
        pre: &Arc<PluginPre<Guest>>,
        runner: &Runner,
        line: &Line,
        errand: Errand,
        config: String,
        (mask, root): (&Mask, &str),
    ) -> Result<Vec<Fault>, CheckError> {
        let (pre, limits, hidden) = (pre.clone(), *runner.limits(), mask.clone());
        let call = move |errand, ledger| async move {
            let guest = Guest::new(errand, ledger, &limits);
            // What it logs is shown, too.
            guest.ledger.entries().aside.mask = hidden;
            self.call(&pre, guest, &config, &limits).await
        };
        let problems = match runner.run(line, errand, call).await.ending {
            Ending::Answered(problems) => problems,
            other => return Err(failed(other, mask)),
        };
        let more = problems.len().saturating_sub(SHOWN);
        let fit = |text: &str| mask.line(text, TEXT);
        let mut faults: Vec<Fault> = problems
            .iter()
            .take(SHOWN)
            .map(|problem| Fault {
                field: schema::field(root, &fit(&problem.pointer)),
                message: fit(&problem.message),
            })
            .collect();
        if more > 0 {
            faults.push(Fault {
                field: root.to_owned(),
                message: format!("and {more} more"),
            });
        }
        Ok(faults)
    }

    async fn call(
        self,
        pre: &PluginPre<Guest>,
        guest: Guest,
        config: &str,
        limits: &RunLimits,
    ) -> Ending<Vec<Problem>> {
        let (ledger, kind) = (guest.ledger.clone(), guest.errand.kind.clone());
        let mut store = guest.into_store(pre.engine(), limits);
        let result = metered(
            &ledger,
            pin!(async {
                let instance = pre.instance_pre().instantiate_async(&mut store).await?;
                let validate =
                    instance.get_typed_func::<(&str, &str), (Vec<Problem>,)>(&mut store, self.0)?;
                let (problems,) = validate.call_async(&mut store, (&kind, config)).await?;
                Ok(problems)
            }),
        )
        .await;
        conclude(&store, result, |problems| !problems.is_empty())
    }
}

/// `func(check-type: string, config: json) -> list<problem>`
fn fits(function: &ComponentFunc) -> bool {
    let params: Vec<Type> = function.params().map(|(_, param)| param).collect();
    let results: Vec<Type> = function.results().collect();
    let ([Type::String, Type::String], [Type::List(list)]) = (&*params, &*results) else {
        return false;
    };
    let Type::Record(problem) = list.ty() else {
        return false;
    };
    let fields = problem.fields().map(|field| (field.name, field.ty));
    fields.eq([("pointer", Type::String), ("message", Type::String)])
}

fn failed<T>(ending: Ending<T>, mask: &Mask) -> CheckError {
    let (reason, what) = match ending {
        Ending::Answered(_) => (Reason::PluginError, "answered nothing".to_owned()),
        Ending::OutOfTime | Ending::NetworkTimeout(_) => {
            (Reason::PluginTimeout, "did not end in time".to_owned())
        }
        Ending::OutOfCpu => (
            Reason::PluginTimeout,
            "used up its processor time (`limits.cpu_ms`)".to_owned(),
        ),
        Ending::Limit(limit) => (Reason::PluginLimit, format!("went past its {limit}")),
        Ending::Trap(why) => (Reason::PluginTrap, format!("trapped: {}", mask.line(&why, TEXT))),
        Ending::Crowded(what) => (Reason::LimitHit, format!("found other runs to have the {what}")),
        Ending::NoSlot => (Reason::LimitHit, "found no free instance in time".to_owned()),
        Ending::Host(why) => return CheckError::Internal(text::line(&why, TEXT)),
    };
    CheckError::Plugin {
        reason,
        message: text::line(&format!("the plugin's `config-check` {what}"), TEXT),
        retryable: false,
    }
}
