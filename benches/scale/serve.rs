//! Lists, streaming lists and watches over HTTP/1.1, with a thread for each connection.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::bed::Bed;
use super::control;
use super::protobuf::{self, Part};
use super::set::Kind;
use super::template::Form;

/// Octets that are sent at once while more follow.
const CHUNK: usize = 64 << 10;

const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// A query string.
pub(crate) type Query = HashMap<String, String>;

/// Answers requests until the client closes.
pub(crate) fn serve(bed: &Arc<Bed>, stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut out = Out { stream, form: Form::Json, buffer: Vec::with_capacity(2 * CHUNK), octets: 0 };
    loop {
        let mut first = String::new();
        if reader.read_line(&mut first)? == 0 {
            return Ok(());
        }
        out.form = Form::Json;
        loop {
            let mut header = String::new();
            if reader.read_line(&mut header)? <= 2 {
                break;
            }
            if header.to_ascii_lowercase().starts_with("accept:") && header.contains(PROTOBUF) {
                out.form = Form::Protobuf;
            }
        }
        let url = first.split(' ').nth(1).unwrap_or_default();
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        let query: Query = query.split('&').filter_map(|pair| pair.split_once('=')).map(owned).collect();
        bed.lock().counts.requests += 1;
        let kind = Kind::ALL.into_iter().find(|kind| kind.names().0 == path);
        match kind {
            Some(kind) if query.contains_key("watch") => watch(bed, kind, &query, &mut out)?,
            Some(kind) => list(bed, kind, &query, &mut out)?,
            None => match control::answer(bed, path, &query) {
                Some(text) => out.whole("200 OK", text.as_bytes())?,
                None => out.whole(
                    "404 Not Found",
                    br#"{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404}"#,
                )?,
            },
        }
        bed.lock().counts.octets += std::mem::take(&mut out.octets);
    }
}

fn owned((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

fn number(query: &Query, name: &str) -> Option<u64> {
    query.get(name)?.parse().ok()
}

/// Serves a page of a list, or all of it.
fn list(bed: &Bed, kind: Kind, query: &Query, out: &mut Out) -> std::io::Result<()> {
    let (total, version) = {
        let state = bed.lock();
        (state.set.count(kind), state.version)
    };
    let from = number(query, "continue").unwrap_or(0) as usize;
    let limit = number(query, "limit").filter(|&limit| limit > 0).map_or(total, |limit| limit as usize);
    let end = total.min(from + limit);
    out.begin()?;
    match out.form {
        Form::Json => json_list(bed, kind, (from, end, total), version, out)?,
        Form::Protobuf => protobuf_list(bed, kind, (from, end, total), version, out),
    }
    out.send()?;
    if end == total {
        *bed.lock().counts.lists.entry(format!("{kind:?}")).or_default() += 1;
    }
    out.end()
}

fn json_list(
    bed: &Bed,
    kind: Kind,
    (from, end, total): (usize, usize, usize),
    version: u64,
    out: &mut Out,
) -> std::io::Result<()> {
    let (_, name, group) = kind.names();
    let more = if end < total {
        format!(r#","continue":"{end}","remainingItemCount":{}"#, total - end)
    } else {
        String::new()
    };
    write!(
        out.buffer,
        r#"{{"kind":"{name}List","apiVersion":"{group}","metadata":{{"resourceVersion":"{version}"{more}}},"items":["#
    )?;
    for at in from..end {
        if at > from {
            out.buffer.push(b',');
        }
        bed.lock().set.write(kind, at, Form::Json, &mut out.buffer);
        out.send_if_full()?;
    }
    out.buffer.extend_from_slice(b"]}\n");
    Ok(())
}

/// Its length comes first, so it is written completely before anything is sent.
fn protobuf_list(bed: &Bed, kind: Kind, (from, end, total): (usize, usize, usize), version: u64, out: &mut Out) {
    let (_, name, group) = kind.names();
    let mut metadata = json!({"resourceVersion": version.to_string()});
    if end < total {
        metadata["continue"] = end.to_string().into();
        metadata["remainingItemCount"] = (total - end).into();
    }
    let mut list = protobuf::field(1, protobuf::message("ListMeta", &metadata));
    list.push(Part::Hole("items".to_owned()));
    let list = protobuf::wrapped(group, &format!("{name}List"), list);
    protobuf::write(&list, &mut out.buffer, &|_, out| {
        for at in from..end {
            protobuf::write_field(2, out, |out| bed.lock().set.write(kind, at, Form::Protobuf, out));
        }
        true
    });
}

fn watch(bed: &Bed, kind: Kind, query: &Query, out: &mut Out) -> std::io::Result<()> {
    let seconds = number(query, "timeoutSeconds").unwrap_or(600);
    let ends = Instant::now() + Duration::from_secs(seconds);
    out.begin()?;
    let mut since = number(query, "resourceVersion").unwrap_or(0);
    if query.contains_key("sendInitialEvents") {
        since = initial_events(bed, kind, out)?;
    }
    let mut told = bed.lock().log.partition_point(|(version, _)| *version <= since);
    let mut bookmark = Instant::now() + Duration::from_secs(60);
    loop {
        let mut state = bed.lock();
        while state.log.len() == told && state.oldest <= since && Instant::now() < ends.min(bookmark) {
            state = bed.wait(state, Duration::from_secs(1));
        }
        if state.oldest > since {
            drop(state);
            let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": "too old resource version", "reason": "Expired", "code": 410});
            event(out, "ERROR", &status);
            out.send()?;
            return out.end();
        }
        if kind == Kind::Slice {
            let state = &mut *state;
            for &(version, slice) in &state.log[told..] {
                // A slice that has changed again comes later.
                if state.set.slices[slice].version == version {
                    state.set.write_event("MODIFIED", kind, slice, out.form, &mut out.buffer);
                    state.counts.events += 1;
                }
                if version == state.awaited.0 {
                    state.awaited.1 = Some(Instant::now());
                }
            }
        }
        told = state.log.len();
        since = state.version;
        drop(state);
        if Instant::now() >= bookmark {
            send_bookmark(kind, since, false, out);
            bookmark += Duration::from_secs(60);
        }
        out.send()?;
        if Instant::now() >= ends {
            return out.end();
        }
    }
}

/// Sends the current state and the bookmark that ends it; returns the version.
fn initial_events(bed: &Bed, kind: Kind, out: &mut Out) -> std::io::Result<u64> {
    let (total, version) = {
        let state = bed.lock();
        (state.set.count(kind), state.version)
    };
    for at in 0..total {
        bed.lock().set.write_event("ADDED", kind, at, out.form, &mut out.buffer);
        out.send_if_full()?;
    }
    send_bookmark(kind, version, true, out);
    out.send()?;
    *bed.lock().counts.lists.entry(format!("{kind:?}")).or_default() += 1;
    Ok(version)
}

fn send_bookmark(kind: Kind, version: u64, ends_list: bool, out: &mut Out) {
    let (_, name, group) = kind.names();
    let mut object = json!({"kind": name, "apiVersion": group, "metadata": {"resourceVersion": version.to_string()}});
    if ends_list {
        object["metadata"]["annotations"] = json!({"k8s.io/initial-events-end": "true"});
    }
    event(out, "BOOKMARK", &object);
}

/// Writes an event of an object outside the set.
fn event(out: &mut Out, what: &str, object: &Value) {
    if out.form == Form::Json {
        let line = json!({"type": what, "object": object});
        out.buffer.extend_from_slice(format!("{line}\n").as_bytes());
        return;
    }
    let word = |name: &str| object[name].as_str().unwrap_or_default();
    let object = protobuf::wrapped(word("apiVersion"), word("kind"), protobuf::message(word("kind"), object));
    let event = protobuf::bytes(&protobuf::event(what, object));
    out.buffer.extend_from_slice(&(event.len() as u32).to_be_bytes());
    out.buffer.extend_from_slice(&event);
}

/// A response that is sent in chunks.
struct Out {
    stream: TcpStream,
    form: Form,
    buffer: Vec<u8>,
    octets: u64,
}

impl Out {
    fn whole(&mut self, status: &str, body: &[u8]) -> std::io::Result<()> {
        let len = body.len();
        let head = format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len}\r\n\r\n");
        self.stream.write_all(&[head.as_bytes(), body].concat())
    }

    fn begin(&mut self) -> std::io::Result<()> {
        let content = if self.form == Form::Protobuf { PROTOBUF } else { "application/json" };
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {content}\r\nTransfer-Encoding: chunked\r\n\r\n");
        self.stream.write_all(head.as_bytes())
    }

    fn send_if_full(&mut self) -> std::io::Result<()> {
        if self.buffer.len() >= CHUNK { self.send() } else { Ok(()) }
    }

    fn send(&mut self) -> std::io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.octets += self.buffer.len() as u64;
        let head = format!("{:x}\r\n", self.buffer.len());
        self.buffer.splice(0..0, head.into_bytes());
        self.buffer.extend_from_slice(b"\r\n");
        self.stream.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }

    fn end(&mut self) -> std::io::Result<()> {
        self.stream.write_all(b"0\r\n\r\n")
    }
}
