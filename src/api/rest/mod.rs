//! The public session API: HTTP in, [`Control`] behind, JSON out. Nothing is decided here.
//!
//! | call | answer |
//! |---|---|
//! | `POST /v1/sessions` | 201 with the session, at once; with `?wait=ready` when it is ready, at most half a minute later |
//! | `GET /v1/sessions` | a page, newest first |
//! | `GET /v1/sessions/{id}` | 200, bytes live |
//! | `DELETE /v1/sessions/{id}` | 204 when this call ended it, else 409 |
//! | `GET /api-docs/openapi.json` | all of this, for programs; without a key |
//!
//! Every other answer is a refusal in the documented shape, for paths and methods that do not exist
//! too.

mod error;
mod proxy;
mod request;
mod view;

use axum::{
    Json, Router,
    extract::{
        Path, Query, Request, State,
        rejection::{PathRejection, QueryRejection},
    },
    http::{StatusCode, Uri, header, request::Parts},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::json;
use tokio::net::TcpListener;
use tracing::{Instrument, Span, debug_span};

pub use view::Display;

use super::http;
use crate::{
    control::{Control, ControlError},
    model::SessionId,
    runtime::Tasks,
    tls::Server,
    traces::Trace,
};
use error::Refusal;

/// What every handler needs.
#[derive(Debug, Clone)]
struct Rest {
    control: Control,
    display: Display,
}

/// Serves the API, with TLS where it is given, until the tasks are asked to stop.
pub fn serve(
    listener: (TcpListener, Option<Server>),
    control: Control,
    display: Display,
    tasks: &Tasks,
) {
    http::serve("api", listener, router(Rest { control, display }), tasks);
}

fn router(rest: Rest) -> Router {
    Router::new()
        .route("/v1/sessions", get(list).post(create))
        .route("/v1/sessions/{id}", get(show).delete(delete))
        .route("/api-docs/openapi.json", get(description))
        .method_not_allowed_fallback(|| async {
            let message = "this path does not know this method; see the `Allow` header";
            Refusal::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                message,
            )
        })
        .fallback(|uri: Uri| async move {
            let message = format!("there is nothing at `{}`", uri.path());
            Refusal::new(StatusCode::NOT_FOUND, "not_found", message)
        })
        .with_state(rest)
}

/// For whoever writes a client; it holds nothing that is anybody's.
async fn description() -> Response {
    let json = [(header::CONTENT_TYPE, "application/json")];
    (json, include_str!("openapi.json")).into_response()
}

impl Rest {
    /// Counts what is refused, whoever refused it.
    fn answer(&self, outcome: Result<Response, Refusal>) -> Response {
        outcome.unwrap_or_else(|refusal| {
            self.control.counts().refused_as(refusal.code());
            refusal.into_response()
        })
    }
}

async fn create(
    State(rest): State<Rest>,
    query: Result<Query<Vec<(String, String)>>, QueryRejection>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let outcome = async {
        let caller = request::caller(&rest, &parts).await?;
        let Query(query) = query.map_err(|bad| Refusal::invalid(bad.body_text()))?;
        let waits = request::waits(query)?;
        let order = request::order(&rest, body).await?;
        let order = if waits { order.waiting() } else { order };
        let order = caller.narrow(order);
        let record = rest.control.create(caller.workspace, order);
        let record = record.instrument(step("POST /v1/sessions", &parts)).await?;
        let view = rest.display.session(record);
        Ok((StatusCode::CREATED, Json(view)).into_response())
    };
    rest.answer(outcome.await)
}

async fn list(
    State(rest): State<Rest>,
    query: Result<Query<Vec<(String, String)>>, QueryRejection>,
    request: Request,
) -> Response {
    let (parts, _body) = request.into_parts();
    let outcome = async {
        let workspace = request::caller(&rest, &parts).await?.workspace;
        let Query(query) = query.map_err(|bad| Refusal::invalid(bad.body_text()))?;
        let (limit, cursor) = request::page(query)?;
        let page = rest.control.list(&workspace, limit, cursor).await?;
        let next = page.next.map(|cursor| cursor.to_string());
        let shown = page.records.into_iter();
        let data: Vec<_> = shown.map(|record| rest.display.session(record)).collect();
        Ok(Json(json!({
            "object": "list",
            "data": data,
            "has_more": next.is_some(),
            "next_cursor": next,
        }))
        .into_response())
    };
    rest.answer(outcome.await)
}

async fn show(State(rest): State<Rest>, id: Id, request: Request) -> Response {
    let (parts, _body) = request.into_parts();
    let outcome = async {
        let workspace = request::caller(&rest, &parts).await?.workspace;
        let (record, live) = rest.control.get(&workspace, &session(id)?).await?;
        let view = rest.display.session(record).with(live);
        Ok(Json(view).into_response())
    };
    rest.answer(outcome.await)
}

async fn delete(State(rest): State<Rest>, id: Id, request: Request) -> Response {
    let (parts, _body) = request.into_parts();
    let outcome = async {
        let workspace = request::caller(&rest, &parts).await?.workspace;
        let id = session(id)?;
        let deleted = rest.control.delete(&workspace, &id);
        let step = step("DELETE /v1/sessions/{id}", &parts);
        deleted.instrument(step).await?;
        Ok(StatusCode::NO_CONTENT.into_response())
    };
    rest.answer(outcome.await)
}

/// What a client's call is, in its own trace where it says so. Only of callers who are known: whoever
/// floods us floods no collector.
fn step(route: &'static str, parts: &Parts) -> Span {
    let step = debug_span!("call", otel.name = route, otel.kind = "server");
    Trace::of(&parts.headers).lead(step)
}

/// The id of a path, which may not even be text.
type Id = Result<Path<String>, PathRejection>;

/// What is no id names no session either.
fn session(id: Id) -> Result<SessionId, Refusal> {
    id.ok()
        .and_then(|Path(id)| id.parse().ok())
        .ok_or_else(|| ControlError::SessionNotFound.into())
}

#[cfg(test)]
#[path = "rest_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "wire_tests.rs"]
mod wire_tests;
