//! From a request to an answer: who may ask, which fault is due, which verb is meant.

use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use huracan_core::words::UtcMs;
use serde_json::{Value, json};

use super::account::tagged;
use super::http::{Incoming, Outgoing, Phase, Plan};
use super::{APP_KEY, APP_SECRET, Fault, REFRESH_TOKEN, Request, State, lock};
use crate::dropbox::content_hash;

const UPLOAD_BYTES_MAX: usize = 150 << 20;
const BATCH_MAX: usize = 1000;

/// Which arguments a route knows. Dropbox refuses all others.
const ARGUMENTS: [(&str, &[&str]); 12] = [
    (
        "files/upload",
        &[
            "path",
            "mode",
            "autorename",
            "client_modified",
            "mute",
            "property_groups",
            "strict_conflict",
            "content_hash",
        ],
    ),
    ("files/download", &["path", "rev"]),
    (
        "files/get_metadata",
        &[
            "path",
            "include_media_info",
            "include_deleted",
            "include_has_explicit_shared_members",
            "include_property_groups",
        ],
    ),
    ("files/delete_v2", &["path", "parent_rev"]),
    (
        "files/list_folder",
        &[
            "path",
            "recursive",
            "include_media_info",
            "include_deleted",
            "include_has_explicit_shared_members",
            "include_mounted_folders",
            "limit",
            "include_non_downloadable_files",
            "include_property_groups",
            "include_restorable_info",
            "shared_link",
        ],
    ),
    ("files/list_folder/continue", &["cursor"]),
    ("files/upload_session/start", &["close", "session_type", "content_hash"]),
    ("files/upload_session/append_v2", &["cursor", "close", "content_hash"]),
    ("files/upload_session/finish", &["cursor", "commit", "content_hash"]),
    ("files/upload_session/start_batch", &["num_sessions", "session_type"]),
    ("files/upload_session/finish_batch_v2", &["entries"]),
    ("users/get_current_account", &[]),
];

/// Routes whose arguments are in a header.
fn is_content(route: &str) -> bool {
    route == "files/upload"
        || route == "files/download"
        || matches!(route.strip_prefix("files/upload_session/"), Some("start" | "append_v2" | "finish"))
}

/// Answers a request, or cuts the connection (`None`).
pub(super) fn answer(state: &Mutex<State>, phase: Phase<'_>) -> Option<Outgoing> {
    match phase {
        Phase::Head(request, plan) => {
            let mut state = lock(state);
            let route = route_of(request);
            // Decided before the body is read, and only looked at: the whole request will meet it else.
            if route != "control" && due(&mut state, route, |fault| fault == Fault::CutRequest).is_some() {
                let body_bytes = request.header("content-length").parse().unwrap_or(0);
                state.requests.push(Request { route: route.into(), status: 0, body_bytes });
                state.counted += 1;
                *plan = Plan::Cut;
            }
            None
        }
        Phase::Whole(request) => {
            let mut state = lock(state);
            let route = route_of(request);
            if route == "control" {
                return Some(control(&mut state, request));
            }
            let fault = due(&mut state, route, |fault| fault != Fault::CutRequest);
            state.counted += 1;
            let mut outgoing = with_fault(&mut state, request, route, fault);
            outgoing.headers.push(("Date", now(&state).format("%a, %d %b %Y %H:%M:%S GMT")));
            let lost = fault == Some(Fault::LoseAnswer);
            let status = if lost { 0 } else { outgoing.status };
            state.requests.push(Request { route: route.into(), status, body_bytes: request.body.len() });
            (!lost).then_some(outgoing)
        }
    }
}

fn route_of(request: &Incoming) -> &str {
    request.path.strip_prefix("/2/").unwrap_or(request.path.trim_start_matches('/'))
}

/// The fault that the next request meets, if it is of the kind wanted; an ordered one is used up.
fn due(state: &mut State, route: &str, wanted: impl Fn(Fault) -> bool) -> Option<Fault> {
    let ordered = state.switches.next.iter().position(|(at, _)| at == "*" || at == route);
    if let Some(place) = ordered {
        let fault = state.switches.next[place].1;
        return wanted(fault).then(|| {
            state.switches.next.remove(place);
            fault
        });
    }
    let number = state.counted + 1;
    let mut every = state.switches.every.iter();
    every.find(|&&(n, fault)| n > 0 && number.is_multiple_of(n) && wanted(fault)).map(|&(_, fault)| fault)
}

fn now(state: &State) -> UtcMs {
    let s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |past| past.as_secs() as i64);
    UtcMs((s + state.switches.clock_shift_s) * 1000)
}

fn with_fault(state: &mut State, request: &Incoming, route: &str, fault: Option<Fault>) -> Outgoing {
    let slower = |reason: &str, retry_after_s: u64| {
        let error = json!({ "reason": { ".tag": reason }, "retry_after": retry_after_s });
        let body = json!({ "error_summary": format!("{reason}/.."), "error": error });
        let mut outgoing = document(429, &body);
        outgoing.headers.push(("Retry-After", retry_after_s.to_string()));
        outgoing
    };
    match fault {
        Some(Fault::TooManyRequests { retry_after_s }) => slower("too_many_requests", retry_after_s),
        Some(Fault::TooManyWrites { retry_after_s }) => slower("too_many_write_operations", retry_after_s),
        Some(Fault::Status(status)) => text(status, "an error, as ordered"),
        Some(Fault::EndToken) => {
            if let Some(uses) = state.tokens.get_mut(bearer(request)) {
                *uses = None;
            }
            carried_out(state, request, route)
        }
        Some(Fault::DamageDownload) => {
            let mut outgoing = carried_out(state, request, route);
            let content = outgoing.body.first_mut();
            if let Some(byte) = content.filter(|_| route == "files/download" && outgoing.status == 200) {
                *byte ^= 1;
            }
            outgoing
        }
        Some(Fault::CutRequest | Fault::LoseAnswer) | None => carried_out(state, request, route),
    }
}

fn bearer(request: &Incoming) -> &str {
    request.header("authorization").strip_prefix("Bearer ").unwrap_or_default()
}

fn document(status: u16, body: &Value) -> Outgoing {
    let headers = vec![("Content-Type", "application/json".to_owned())];
    Outgoing { status, headers, body: body.to_string().into_bytes() }
}

fn text(status: u16, body: &str) -> Outgoing {
    Outgoing {
        status,
        headers: vec![("Content-Type", "text/plain; charset=utf-8".into())],
        body: body.into(),
    }
}

fn refused(error: &Value) -> Outgoing {
    let summary = error[".tag"].as_str().unwrap_or_default();
    document(409, &json!({ "error_summary": format!("{summary}/.."), "error": error }))
}

fn carried_out(state: &mut State, request: &Incoming, route: &str) -> Outgoing {
    if route == "oauth2/token" {
        return token(state, request);
    }
    if request.method != "POST" {
        return text(405, "expected POST");
    }
    if let Err(outgoing) = admitted(state, request) {
        return outgoing;
    }
    let source = if is_content(route) { request.header("dropbox-api-arg").as_bytes() } else { &request.body };
    let argument: Value = match serde_json::from_slice(source) {
        Ok(argument) => argument,
        Err(error) => return text(400, &format!("Error in call to API function \"{route}\": {error}")),
    };
    let Some(&(_, known)) = ARGUMENTS.iter().find(|(name, _)| *name == route) else {
        return text(404, &format!("Unknown API function: \"{route}\""));
    };
    let given = argument.as_object().into_iter().flat_map(|fields| fields.keys());
    if let Some(unknown) = given.clone().find(|name| !known.contains(&name.as_str())) {
        return text(400, &format!("Error in call to API function \"{route}\": unknown field {unknown}"));
    }
    if is_content(route)
        && route != "files/download"
        && request.header("content-type") != "application/octet-stream"
    {
        return text(400, "expected Content-Type: application/octet-stream");
    }
    verb(state, route, &argument, &request.body)
}

fn admitted(state: &mut State, request: &Incoming) -> Result<(), Outgoing> {
    let refuse =
        |tag: &str| document(401, &json!({ "error_summary": format!("{tag}/.."), "error": { ".tag": tag } }));
    let allowed = state.switches.token_requests;
    match state.tokens.get_mut(bearer(request)) {
        None => Err(refuse("invalid_access_token")),
        Some(None) => Err(refuse("expired_access_token")),
        Some(Some(uses)) if allowed.is_some_and(|allowed| *uses >= allowed) => {
            state.tokens.insert(bearer(request).to_owned(), None);
            Err(refuse("expired_access_token"))
        }
        Some(Some(uses)) => {
            *uses += 1;
            Ok(())
        }
    }
}

fn token(state: &mut State, request: &Incoming) -> Outgoing {
    let form = String::from_utf8_lossy(&request.body).into_owned();
    let field = |name: &str| {
        form.split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value)
    };
    if field("grant_type") != Some("refresh_token") {
        return document(400, &json!({ "error": "unsupported_grant_type" }));
    }
    if field("client_id") != Some(APP_KEY)
        || field("client_secret").is_some_and(|secret| secret != APP_SECRET)
    {
        let body = json!({ "error": "invalid_client: Invalid client_id or client_secret" });
        return document(400, &body);
    }
    if field("refresh_token") != Some(REFRESH_TOKEN) {
        let body = json!({ "error": "invalid_grant", "error_description": "refresh token is malformed" });
        return document(400, &body);
    }
    let access = format!("sl.stand-in.{}", state.tokens.len());
    state.tokens.insert(access.clone(), Some(0));
    let expires_in = state.switches.token_lives_s.unwrap_or(14_400);
    document(200, &json!({ "access_token": access, "token_type": "bearer", "expires_in": expires_in }))
}

fn verb(state: &mut State, route: &str, argument: &Value, body: &[u8]) -> Outgoing {
    let done = |result: Result<Value, Value>| match result {
        Ok(result) => document(200, &result),
        Err(error) => refused(&error),
    };
    let at = now(state);
    let quota_bytes = state.switches.quota_bytes;
    let text_of = |name: &str| argument[name].as_str().unwrap_or_default();
    let damaged = argument["content_hash"].as_str().is_some_and(|hash| hash != content_hash(body));
    if is_content(route) && body.len() > UPLOAD_BYTES_MAX {
        return done(Err(json!({ ".tag": "payload_too_large" })));
    }
    if is_content(route) && damaged {
        return done(Err(json!({ ".tag": "content_hash_mismatch" })));
    }
    match route {
        "files/upload" => {
            let written = state.contents.commit(argument, body.to_vec(), at, quota_bytes).map(untagged);
            // Here the write error stands in a struct beside the session that would hold the content.
            done(written.map_err(|reason| {
                json!({ ".tag": "path", "reason": reason, "upload_session_id": "pid_upload_session:none" })
            }))
        }
        "files/download" => match state.contents.download(text_of("path")) {
            Ok((metadata, content)) => Outgoing {
                status: 200,
                headers: vec![
                    ("Content-Type", "application/octet-stream".into()),
                    ("Dropbox-API-Result", untagged(metadata).to_string()),
                ],
                body: content,
            },
            Err(refusal) => refused(&tagged("path", refusal)),
        },
        "files/get_metadata" => done(state.contents.metadata(text_of("path")).map_err(|e| tagged("path", e))),
        "files/delete_v2" => {
            let deleted = state.contents.delete(text_of("path"), argument["parent_rev"].as_str());
            done(deleted.map(|metadata| json!({ "metadata": metadata })))
        }
        "files/list_folder" => {
            let path = text_of("path");
            if path == "/" || path.ends_with('/') {
                return text(400, "Specify the root folder as an empty string rather than as \"/\".");
            }
            if argument["limit"].as_u64().is_some_and(|limit| limit == 0 || limit > 2000) {
                return text(400, "limit: expected 1 to 2000");
            }
            let page = state.contents.list(argument).map(|page| shown(state, page));
            done(page.map_err(|e| tagged("path", e)))
        }
        "files/list_folder/continue" => {
            if std::mem::take(&mut state.switches.reset_cursors) {
                state.contents.forget_cursors();
            }
            let page = state.contents.list_on(text_of("cursor")).map(|page| shown(state, page));
            done(page.ok_or_else(|| json!({ ".tag": "reset" })))
        }
        "files/upload_session/start" => {
            let close = argument["close"].as_bool().unwrap_or(false);
            done(Ok(json!({ "session_id": state.contents.start(body.to_vec(), close) })))
        }
        "files/upload_session/start_batch" => {
            let wanted = argument["num_sessions"].as_u64().unwrap_or(0).min(BATCH_MAX as u64);
            let ids: Vec<String> = (0..wanted).map(|_| state.contents.start(Vec::new(), false)).collect();
            done(Ok(json!({ "session_ids": ids })))
        }
        "files/upload_session/append_v2" => {
            let close = argument["close"].as_bool().unwrap_or(false);
            done(state.contents.append(&argument["cursor"], body, close).map(|()| Value::Null))
        }
        "files/upload_session/finish" => {
            done(state.contents.finish(argument, body, false, at, quota_bytes).map(untagged))
        }
        "files/upload_session/finish_batch_v2" => {
            let entries = argument["entries"].as_array().cloned().unwrap_or_default();
            if entries.is_empty() || entries.len() > BATCH_MAX {
                return text(400, "entries: expected 1 to 1000");
            }
            let lines: Vec<Value> = entries.iter().map(|entry| batch_line(state, entry, at)).collect();
            done(Ok(json!({ "entries": lines })))
        }
        _ => text(404, &format!("Unknown API function: \"{route}\"")),
    }
}

fn batch_line(state: &mut State, entry: &Value, at: UtcMs) -> Value {
    state.entries_counted += 1;
    let every = state.switches.crowded_entry_every;
    if every.is_some_and(|n| n > 0 && state.entries_counted.is_multiple_of(n)) {
        return tagged("failure", json!({ ".tag": "too_many_write_operations" }));
    }
    match state.contents.finish(entry, &[], true, at, state.switches.quota_bytes) {
        Ok(mut metadata) => {
            metadata[".tag"] = json!("success");
            metadata
        }
        Err(refusal) => tagged("failure", refusal),
    }
}

/// A struct that stands where only its kind can stand has no tag.
fn untagged(mut metadata: Value) -> Value {
    if let Some(fields) = metadata.as_object_mut() {
        fields.remove(".tag");
    }
    metadata
}

/// A page as shown, with folders in lower case where that is ordered: every name stays as it is.
fn shown(state: &State, mut page: Value) -> Value {
    let entries = page["entries"].as_array_mut().into_iter().flatten();
    for entry in entries.filter(|_| state.switches.forget_folder_case) {
        let lower = entry["path_lower"].as_str().unwrap_or_default();
        let folder = lower.rsplit_once('/').map_or("", |(folder, _)| folder);
        entry["path_display"] = json!(format!("{folder}/{}", entry["name"].as_str().unwrap_or_default()));
    }
    page
}

/// For clients in other processes: `POST /control` sets the switches, `GET /control` tells them and the
/// requests so far.
fn control(state: &mut State, request: &Incoming) -> Outgoing {
    if request.method == "POST" {
        match serde_json::from_slice(&request.body) {
            Ok(switches) => state.switches = switches,
            Err(error) => return text(400, &format!("not a set of switches: {error}")),
        }
        state.requests.clear();
    }
    document(200, &json!({ "switches": state.switches, "requests": state.requests }))
}
