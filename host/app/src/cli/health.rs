//! `lapwing health`: asks a running worker whether it is alive, where no curl is.

use super::{Exit, Shared};
use crate::config::{Config, Environment};
use anyhow::Context;
use clap::Args;
use std::time::Duration;

/// `lapwing health`
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 alive, 1 stalled, 2 no answer\n\nExample (Dockerfile):\n  HEALTHCHECK CMD [\"lapwing\", \"health\"]"
)]
pub(crate) struct HealthArgs {
    #[command(flatten)]
    shared: Shared,
}

/// Runs it.
pub(crate) fn main(args: &HealthArgs, environment: &Environment) -> anyhow::Result<Exit> {
    // The same settings as the worker's lead to the same address.
    let mut address = Config::load(&args.shared, environment)?.listen;
    if address.ip().is_unspecified() {
        // Listening everywhere includes here.
        address.set_ip(if address.is_ipv4() {
            [127, 0, 0, 1].into()
        } else {
            std::net::Ipv6Addr::LOCALHOST.into()
        });
    }
    let url = format!("http://{address}/api/v1/health");
    crate::role::block_on(async {
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(3))
            .build()?;
        let answer = client
            .get(&url)
            .send()
            .await
            .with_context(|| format!("no answer from {url}"))?;
        let alive = answer.status().is_success();
        crate::console::line(&answer.text().await?);
        Ok(if alive { Exit::Up } else { Exit::Down })
    })
}
