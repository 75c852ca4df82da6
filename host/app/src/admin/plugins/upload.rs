//! `POST /api/v1/plugins`: a new plugin over the wire. Off unless `admin.upload` is set, and with a token of its own.
//!
//! Whoever can upload can have code compiled and described, both without rights and within limits; it serves nothing
//! until somebody with the other token enables it. The file is named by the plugin itself, replaces none, and is in the
//! folder only once it is whole and switched off.

use super::{Named, inspect::Inspection};
use crate::{
    admin::{
        State, access,
        error::{ApiError, Envelope},
        openapi::refer,
    },
    kinds::Kinds,
};
use axum::{
    Json,
    body::Body,
    extract,
    http::{HeaderMap, StatusCode},
};
use futures_util::StreamExt;
use lapwing_wasm::{PluginFolder, PluginReport, PluginState};
use std::{io, sync::Arc};
use tempfile::NamedTempFile;
use tokio::{
    io::{AsyncWriteExt, BufWriter},
    sync::{Mutex, Semaphore},
};

/// How many uploads may be under way.
const MAX_UPLOADS: usize = 4;

/// How many plugins may lie in the folder disabled for another to be uploaded: each takes place on the disk.
const MOST_WAITING: usize = 64;

/// How much of a body is written at once.
const PIECE: usize = 64 << 10;

/// The uploads under way.
pub(crate) struct Uploads {
    /// Each is a file of up to `plugins.file_mib` beside the folder's.
    places: Arc<Semaphore>,
    /// One at a time is compiled and placed. Taken with the whole body in hand: no slow sender holds up another.
    turn: Mutex<()>,
}

impl Default for Uploads {
    fn default() -> Self {
        Self {
            places: Arc::new(Semaphore::new(MAX_UPLOADS)),
            turn: Mutex::default(),
        }
    }
}

/// Takes a plugin file. It lands disabled; `POST …/enable` lets it serve.
#[utoipa::path(post, path = "/api/v1/plugins", tag = "plugins", security(("upload" = [])),
    request_body(description = "A component, at most `plugins.file_mib`", content(("application/wasm"))),
    responses(
        (status = 201, description = "The plugin, disabled", body = ref(refer::<Inspection>())),
        (status = 401, description = "`unauthorized`: not the upload token", body = ref(refer::<Envelope>())),
        (status = 403, description = "`upload_disabled`: `admin.upload` is not set", body = ref(refer::<Envelope>())),
        (status = 409, description = "`already_exists`: a file or plugin of that name is there; `too_many_disabled`: 64 wait to be enabled", body = ref(refer::<Envelope>())),
        (status = 413, description = "`payload_too_large`", body = ref(refer::<Envelope>())),
        (status = 422, description = "`not_a_plugin`, with the reason", body = ref(refer::<Envelope>())),
        (status = 429, description = "`too_many_uploads`: 4 of these are under way", body = ref(refer::<Envelope>()))
    )
)]
pub(crate) async fn upload(
    extract::State(state): extract::State<State>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Inspection>), ApiError> {
    access::authorize_upload(&state, &headers)?;
    let place = state.uploads.places.clone().try_acquire_owned().map_err(|_| {
        let message = "too many uploads are under way; try again later";
        ApiError::new(StatusCode::TOO_MANY_REQUESTS, "too_many_uploads", message)
    })?;
    // Whoever hangs up with half a body ends it; whoever does later leaves nothing half done.
    let done = tokio::spawn(async move {
        let _place = place;
        let kinds = &state.prober.kinds;
        kinds.loaded().await;
        let draft = receive(folder_of(kinds)?, body, state.upload_limit).await?;
        accept(&state, draft).await
    });
    done.await.map_err(failed)?
}

/// Looks at the file, and puts it in the folder if it may be there.
async fn accept(state: &State, draft: NamedTempFile) -> Result<(StatusCode, Json<Inspection>), ApiError> {
    let kinds = &state.prober.kinds;
    let folder = folder_of(kinds)?;
    let _turn = state.uploads.turn.lock().await;
    let report = folder.host().load_file(draft.path()).await;
    if let Some(why) = report.failure() {
        return Err(refused(why));
    }
    let (name, digest) = (report.name.clone(), report.digest.clone().unwrap_or_default());
    vacancy(folder, &report)?;
    let own = digest.clone();
    let target = blocking(kinds, move |folder| {
        let placed = folder.place(draft, &report.name, &own);
        placed.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => taken(&report.name),
            _ => failed(error),
        })
    })
    .await?;
    let reports = kinds.reload().await.map_err(failed)?;
    // What the folder's own rules refuse (a pin, a signature) does not stay.
    let there = reports.iter().find(|there| there.path == target);
    if let Some(why) = there.and_then(PluginReport::failure) {
        let why = refused(why);
        let withdraw = move |folder: &PluginFolder| folder.withdraw(&target, &digest).map_err(failed);
        blocking(kinds, withdraw).await?;
        return Err(why);
    }
    tracing::info!("plugin `{name}` uploaded; it is disabled until somebody enables it");
    Ok((StatusCode::CREATED, Json(Named::find(state, &name)?.into())))
}

fn folder_of(kinds: &Kinds) -> Result<&PluginFolder, ApiError> {
    kinds
        .folder()
        .ok_or_else(|| failed("this process has no plugin folder"))
}

/// Does something with the folder off the runtime's threads.
async fn blocking<T: Send + 'static>(
    kinds: &Arc<Kinds>,
    work: impl FnOnce(&PluginFolder) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let kinds = kinds.clone();
    let done = tokio::task::spawn_blocking(move || work(folder_of(&kinds)?));
    done.await.map_err(failed)?
}

/// Writes the body to a file of this user alone, whose name no scan looks at, until it is too long.
async fn receive(folder: &PluginFolder, body: Body, limit: u64) -> Result<NamedTempFile, ApiError> {
    let draft = folder.draft().map_err(failed)?;
    let file = tokio::fs::File::from_std(draft.reopen().map_err(failed)?);
    // However small the pieces are that it comes in.
    let mut file = BufWriter::with_capacity(PIECE, file);
    let (mut body, mut length) = (body.into_data_stream(), 0_u64);
    while let Some(piece) = body.next().await {
        let piece = piece
            .map_err(|error| ApiError::new(StatusCode::BAD_REQUEST, "invalid_request", error.to_string()))?;
        length += piece.len() as u64;
        if length > limit {
            let message = format!("more than {} MiB; `plugins.file_mib` raises it", limit >> 20);
            return Err(ApiError::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "payload_too_large",
                message,
            ));
        }
        file.write_all(&piece).await.map_err(failed)?;
    }
    file.flush().await.map_err(failed)?;
    file.get_ref().sync_all().await.map_err(failed)?;
    Ok(draft)
}

/// Whether there is room for it, and for its name.
fn vacancy(folder: &PluginFolder, report: &PluginReport) -> Result<(), ApiError> {
    let name = &report.name;
    let fit = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || name.len() > 64 || name.starts_with('.') || !name.chars().all(fit) {
        let message = "its name is no file name: letters, digits, `-`, `_` and `.`, at most 64";
        return Err(refused(message));
    }
    let reports = folder.reports();
    if folder.path().join(format!("{name}.wasm")).exists() || reports.iter().any(|there| there.name == *name)
    {
        return Err(taken(name));
    }
    let waiting = reports
        .iter()
        .filter(|there| there.state == PluginState::Disabled);
    if waiting.count() >= MOST_WAITING {
        let message = format!("{MOST_WAITING} plugins of the folder are disabled; enable or remove some");
        return Err(ApiError::new(StatusCode::CONFLICT, "too_many_disabled", message));
    }
    Ok(())
}

fn refused(why: &str) -> ApiError {
    ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "not_a_plugin", why)
}

fn taken(name: &str) -> ApiError {
    let message =
        format!("there is a plugin `{name}` or a file `{name}.wasm` already; replace it in the folder");
    ApiError::new(StatusCode::CONFLICT, "already_exists", message)
}

#[expect(clippy::needless_pass_by_value, reason = "fits `map_err`")]
fn failed(error: impl ToString) -> ApiError {
    ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "not_kept", error.to_string())
}
