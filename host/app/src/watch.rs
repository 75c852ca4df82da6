//! Starting again when the settings file changes.

use crate::config::{Config, Faults};
use std::{future::Future, net::SocketAddr, time::Duration};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Time between two looks at the file.
const LOOK: Duration = Duration::from_millis(500);

/// Runs `serve` until `stop`, and anew with what `load` gives whenever the file has changed. A file with faults is
/// told, and changes nothing until it is mended. Files are read, not watched: that holds on every file system.
pub(crate) async fn restarting<F>(
    mut config: Config,
    load: impl Fn(SocketAddr) -> Result<Config, Faults>,
    stop: CancellationToken,
    serve: impl Fn(Config, CancellationToken) -> F,
) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>>,
{
    let path = config.file.clone();
    if path.is_none() {
        warn!("--watch has no settings file to watch; name one with --config");
    }
    let text = || path.as_ref().and_then(|path| std::fs::read(path).ok());
    let mut seen = text();
    while !stop.is_cancelled() {
        let (life, listen) = (stop.child_token(), config.listen);
        let changed = async {
            loop {
                tokio::time::sleep(LOOK).await;
                let now = text();
                // An editor may have emptied it, or moved it away, to write it anew.
                if now == seen || now.as_ref().is_none_or(Vec::is_empty) {
                    continue;
                }
                tokio::time::sleep(LOOK).await;
                if text() != now {
                    continue;
                }
                seen = now;
                match load(listen) {
                    Ok(config) => return config,
                    Err(faults) => warn!("the changed settings file is not used: {faults}"),
                }
            }
        };
        let mut running = std::pin::pin!(serve(config, life.clone()));
        config = tokio::select! {
            ended = &mut running => return ended,
            next = changed => next,
        };
        info!("the settings file has changed; starting again");
        life.cancel();
        running.await?;
    }
    Ok(())
}
