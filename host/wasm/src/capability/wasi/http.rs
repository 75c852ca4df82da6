//! `wasi:http/outgoing-handler`: requests of unmodified programs (JavaScript's `fetch`, for one) by the worker's own
//! engine: its resolver and guard, its TLS and trust roots, one connection a request. No redirect is followed.
//!
//! The stock implementation keeps the resources (requests, fields, bodies) and their rules: forbidden headers, sizes,
//! the order of things. Here are the gate before a request, and what sends it ([`exchange`]).

mod body;
mod code;
mod exchange;

use crate::{
    abi::v1::wit::net_types::NetError as GuestError,
    guest::Guest,
    ledger::Flight,
    quota::{Meter, Seat},
    rights::Right,
    trace::Begun,
};
use exchange::Answer;
use http::Request;
use lapwing_checks::{Net, net::NetError};
use lapwing_model::Reason;
use std::time::Duration;
use tokio::{runtime::Handle, time::Instant};
use tokio_util::task::AbortOnDropHandle;
use wasmtime::{
    Result, StoreContextMut,
    component::{Linker, Resource},
};
use wasmtime_wasi_http::{
    Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
    p2::{
        bindings::http::{
            outgoing_handler::Host as _,
            types::{ErrorCode, HostOutgoingRequest as _, Method, Scheme},
        },
        types::{HostFutureIncomingResponse, HostOutgoingRequest},
    },
};

/// Largest set of fields, in bytes of memory: the host keeps as many as there may be resources.
const FIELDS_BYTES: usize = 16 << 10;
/// Longest method, authority and path, in bytes.
const METHOD: usize = 64;
const AUTHORITY: usize = 1 << 10;
const PATH: usize = 16 << 10;
/// Most the host keeps for a request, fields and all; nothing else of WASI that stays is larger.
pub(crate) const REQUEST_BYTES: usize = FIELDS_BYTES + METHOD + AUTHORITY + PATH;
/// Most a guest may write to a body at once.
const CHUNK: usize = 64 << 10;
/// The run ends at its deadline, with the word for what was awaited. What is under way must not get ahead of that.
const GRACE: Duration = Duration::from_secs(1);

/// What the stock implementation needs of a run.
pub(crate) struct Courier {
    context: WasiHttpCtx,
    hooks: Hooks,
}

/// Sends what has a ticket.
struct Hooks {
    ticket: Option<Ticket>,
}

/// Admission of one request.
struct Ticket {
    net: Net,
    worker: Handle,
    meter: Meter,
    flight: Flight,
    seat: Seat,
    /// The call that ends with the head of the answer.
    begun: Option<Begun>,
    deadline: Instant,
}

type Handled = (std::result::Result<Resource<HostFutureIncomingResponse>, ErrorCode>,);

/// Offers `wasi:http/types` and `wasi:http/outgoing-handler`. Serving requests is not for plugins.
pub(crate) fn add_to_linker(linker: &mut Linker<Guest>) -> Result<()> {
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)?;
    linker.allow_shadowing(true);
    add_setters(linker)?;
    linker.instance("wasi:http/outgoing-handler@0.2.12")?.func_wrap(
        "handle",
        |mut context: StoreContextMut<'_, Guest>,
         (request, options): (Resource<HostOutgoingRequest>, Option<Resource<RequestOptions>>)|
         -> Result<Handled> { Ok((context.data_mut().handle(request, options)?,)) },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

type Set = (std::result::Result<(), ()>,);

/// The stock setters with a bound: theirs keep what a guest hands over, megabytes of it for each request.
fn add_setters(linker: &mut Linker<Guest>) -> Result<()> {
    let mut types = linker.instance("wasi:http/types@0.2.12")?;
    types.func_wrap(
        "[method]outgoing-request.set-method",
        |mut context: StoreContextMut<'_, Guest>,
         (request, method): (Resource<HostOutgoingRequest>, Method)|
         -> Result<Set> {
            let length = match &method {
                Method::Other(name) => name.len(),
                _ => 0,
            };
            if context.data().is_too_long("method", length, METHOD) {
                return Ok((Err(()),));
            }
            Ok((context.data_mut().http().set_method(request, method)?,))
        },
    )?;
    types.func_wrap(
        "[method]outgoing-request.set-authority",
        |mut context: StoreContextMut<'_, Guest>,
         (request, authority): (Resource<HostOutgoingRequest>, Option<String>)|
         -> Result<Set> {
            let length = authority.as_ref().map_or(0, String::len);
            if context.data().is_too_long("authority", length, AUTHORITY) {
                return Ok((Err(()),));
            }
            Ok((context.data_mut().http().set_authority(request, authority)?,))
        },
    )?;
    types.func_wrap(
        "[method]outgoing-request.set-path-with-query",
        |mut context: StoreContextMut<'_, Guest>,
         (request, path): (Resource<HostOutgoingRequest>, Option<String>)|
         -> Result<Set> {
            let length = path.as_ref().map_or(0, String::len);
            if context.data().is_too_long("path", length, PATH) {
                return Ok((Err(()),));
            }
            Ok((context.data_mut().http().set_path_with_query(request, path)?,))
        },
    )
}

impl Courier {
    pub(crate) fn new() -> Self {
        let mut context = WasiHttpCtx::new();
        context.set_field_size_limit(FIELDS_BYTES);
        Self {
            context,
            hooks: Hooks { ticket: None },
        }
    }
}

impl Guest {
    /// Whether a part of a request is longer than the host keeps; written down as the limit it is.
    fn is_too_long(&self, part: &str, length: usize, most: usize) -> bool {
        let too_long = length > most;
        if too_long {
            let why = format!("a request's {part} of {length} bytes; {most} at most");
            self.ledger.hinder(Reason::LimitHit, &why);
        }
        too_long
    }

    fn handle(
        &mut self,
        request: Resource<HostOutgoingRequest>,
        options: Option<Resource<RequestOptions>>,
    ) -> Result<std::result::Result<Resource<HostFutureIncomingResponse>, ErrorCode>> {
        let asked = self.table.get(&request)?;
        let begun = self.call_begins("wasi-http.send", || shown(asked));
        match self.ticket(begun) {
            Ok(ticket) => self.http.hooks.ticket = Some(ticket),
            Err(refusal) => {
                self.call_ends(begun, &Err::<(), _>(&refusal), |()| String::new());
                self.table.delete(request)?;
                return Ok(Err(match refusal {
                    GuestError::Limit(_) => ErrorCode::ConnectionLimitReached,
                    _ => ErrorCode::HttpRequestDenied,
                }));
            }
        }
        let handled = self.http().handle(request, options);
        // An unfit request is refused before it comes to the hook.
        self.http.hooks.ticket = None;
        match handled {
            Ok(answer) => Ok(Ok(answer)),
            Err(error) => {
                let code: ErrorCode = error.downcast()?;
                self.call_ends(begun, &Err::<(), _>(format!("{code:?}")), |()| String::new());
                Ok(Err(code))
            }
        }
    }

    fn ticket(&mut self, begun: Option<Begun>) -> std::result::Result<Ticket, GuestError> {
        let net = self.permit(Right::WasiHttp)?;
        let seat = self.take_connect()?;
        let Some(network) = &self.errand.network else {
            return Err(self.refuse("no network"));
        };
        Ok(Ticket {
            net,
            worker: network.worker.clone(),
            meter: self.meter(),
            flight: Flight::begin(&self.ledger, NetError::ConnectTimeout("a request".to_owned())),
            seat,
            begun,
            deadline: Instant::from_std(self.errand.deadline) + GRACE,
        })
    }
}

/// Method and address, as for our own `http`.
fn shown(request: &HostOutgoingRequest) -> String {
    let HostOutgoingRequest {
        method,
        scheme,
        authority,
        path_with_query,
        ..
    } = request;
    let scheme = match scheme {
        Some(Scheme::Http) => "http",
        Some(Scheme::Other(other)) => other,
        Some(Scheme::Https) | None => "https",
    };
    let method = match method {
        Method::Other(other) => other.clone(),
        method => format!("{method:?}")
            .trim_start_matches("Method::")
            .to_uppercase(),
    };
    let authority = authority.as_deref().unwrap_or_default();
    let path = path_with_query.as_deref().unwrap_or("/");
    format!("{method} {scheme}://{authority}{path}")
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            hooks: &mut self.http.hooks,
            table: &mut self.table,
            ctx: &mut self.http.context,
        }
    }
}

impl WasiHttpHooks for Hooks {
    /// The authority may hold credentials, which are no part of a host: we set it.
    fn set_host_header(&mut self) -> bool {
        false
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK
    }

    /// On the worker's runtime; dropping the future drops the work.
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = std::result::Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Answer> + Send> {
        let ticket = self.ticket.take();
        Box::new(async move {
            let ticket = ticket.ok_or(Error::HttpRequestDenied)?;
            let worker = ticket.worker.clone();
            let work = exchange::exchange(ticket, request, options.unwrap_or_default());
            AbortOnDropHandle::new(worker.spawn(work))
                .await
                .unwrap_or_else(|fault| Err(Error::InternalError(Some(fault.to_string()))))
        })
    }
}
