//! A small scripted API server: it keeps objects, lists and watches them as a real one does, and
//! misbehaves on demand. Like a real one it answers in protobuf if that is accepted, unless JSON is
//! demanded.

mod protobuf;

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::HeaderValue;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

type Body = UnsyncBoxBody<Bytes, std::io::Error>;
type Chunks = mpsc::UnboundedSender<Result<Bytes, std::io::Error>>;

/// An API server on a port of its own.
#[derive(Clone)]
pub struct Api {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
pub struct State {
    version: u64,
    /// By path of the collection, then by namespace and name.
    objects: BTreeMap<String, BTreeMap<String, Value>>,
    watches: Vec<Watch>,
    /// The requests, each with its time.
    pub requests: Vec<(Instant, String)>,
    /// Whether answers are always JSON.
    pub json_only: bool,
    /// The required credentials, if any.
    pub credentials: Option<&'static str>,
    /// Faults for requests that contain a text, in this order, each for at most that many requests.
    pub faults: VecDeque<(&'static str, usize, Fault)>,
    connections: JoinSet<()>,
    accepting: Option<tokio::task::AbortHandle>,
}

struct Watch {
    collection: String,
    form: Form,
    chunks: Chunks,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Protobuf,
}

/// What goes wrong with a request.
#[derive(Clone)]
pub enum Fault {
    /// A reply with this status and these headers.
    Status(u16, &'static [(&'static str, &'static str)]),
    /// A watch that reports at once that its version has expired.
    Expired,
    /// No answer at all.
    Hang,
    /// A streaming list without the bookmark at its end.
    NoBookmark,
    /// An empty list.
    Empty,
    /// This text as the answer, in JSON.
    Text(String),
    /// A watch in JSON that gets this line first.
    Line(String),
    /// A watch, in protobuf if that is accepted, that gets these octets first.
    Octets(Vec<u8>),
    /// A watch whose connection breaks at once.
    Cut,
}

impl Api {
    pub async fn start() -> Self {
        // Below the ephemeral ports: no client may have its port when it comes back.
        let listener = loop {
            if let Ok(listener) = TcpListener::bind(("127.0.0.1", fastrand::u16(10_000..30_000))).await {
                break listener;
            }
        };
        let address = listener.local_addr().expect("an address");
        let api = Self { address, state: Arc::default() };
        api.lock().version = 1000;
        api.accept(listener);
        api
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a fault.
    pub fn fault(&self, matching: &'static str, times: usize, fault: Fault) {
        self.lock().faults.push_back((matching, times, fault));
    }

    /// Drops every connection and refuses new ones.
    pub fn down(&self) {
        let mut state = self.lock();
        if let Some(task) = state.accepting.take() {
            task.abort();
        }
        state.connections.abort_all();
        state.watches.clear();
    }

    /// Listens again, on the same port.
    pub async fn up(&self) {
        for _ in 0..100 {
            if let Ok(listener) = TcpListener::bind(self.address).await {
                return self.accept(listener);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the port is taken");
    }

    fn accept(&self, listener: TcpListener) {
        let api = self.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let own = api.clone();
                let service = hyper::service::service_fn(move |request| own.clone().serve(request));
                api.lock().connections.spawn(async move {
                    // Clients come and go.
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        self.lock().accepting = Some(task.abort_handle());
    }

    /// Returns how many requests contained a text.
    pub fn asked(&self, text: &str) -> usize {
        self.lock().requests.iter().filter(|(_, url)| url.contains(text)).count()
    }

    async fn serve(self, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
        let path = request.uri().path().to_owned();
        let url = request.uri().to_string();
        let accepts = request.headers().get("accept").and_then(|accept| accept.to_str().ok()).unwrap_or_default();
        let takes_protobuf = accepts.contains(PROTOBUF) && kind(&path).0 != "ServiceImport";
        let token = request.headers().get("authorization").and_then(|token| token.to_str().ok());
        let fault = self.lock().note(&url);
        if self.lock().credentials.is_some_and(|wanted| token != Some(wanted)) {
            return Ok(refuse(401, &[], Form::Json));
        }
        let in_json = matches!(fault, Some(Fault::Text(_) | Fault::Line(_))) || self.lock().json_only;
        let form = if takes_protobuf && !in_json { Form::Protobuf } else { Form::Json };
        let query: BTreeMap<String, String> = request
            .uri()
            .query()
            .unwrap_or_default()
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let mut response = match fault {
            Some(Fault::Status(status, headers)) => refuse(status, headers, form),
            Some(Fault::Hang) => std::future::pending().await,
            Some(Fault::Text(text)) => Response::new(full(text)),
            fault if query.contains_key("watch") => self.lock().watch(path, &query, fault, form),
            fault => self.lock().list(&path, &query, fault, form),
        };
        let content = if form == Form::Protobuf { PROTOBUF } else { "application/json" };
        response.headers_mut().insert("content-type", HeaderValue::from_static(content));
        Ok(response)
    }
}

impl State {
    fn note(&mut self, url: &str) -> Option<Fault> {
        self.requests.push((Instant::now(), url.to_owned()));
        let at = self.faults.iter().position(|(matching, _, _)| url.contains(matching))?;
        let (_, times, fault) = &mut self.faults[at];
        *times -= 1;
        let (left, fault) = (*times, fault.clone());
        if left == 0 {
            self.faults.remove(at);
        }
        Some(fault)
    }

    /// Adds or changes an object, and tells the watches.
    pub fn put(&mut self, object: Value) {
        self.change(object, true);
    }

    /// Adds an object without telling the watches.
    pub fn sneak(&mut self, object: Value) {
        self.change(object, false);
    }

    fn change(&mut self, mut object: Value, tell: bool) {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        let (collection, key) = (collection(&object), key(&object));
        let old = self.objects.entry(collection.clone()).or_default().insert(key, object.clone());
        if tell {
            self.tell(&collection, if old.is_some() { "MODIFIED" } else { "ADDED" }, &object);
        }
    }

    /// Removes an object and tells the watches.
    pub fn take(&mut self, kind: &str, namespace: &str, name: &str) {
        let probe = json!({"kind": kind, "metadata": {"namespace": namespace, "name": name}});
        self.version += 1;
        let removed = self.objects.entry(collection(&probe)).or_default().remove(&key(&probe));
        if let Some(mut object) = removed {
            object["metadata"]["resourceVersion"] = self.version.to_string().into();
            self.tell(&collection(&probe), "DELETED", &object);
        }
    }

    /// Sends a bookmark to every watch.
    pub fn bookmark(&mut self) {
        let metadata = json!({"resourceVersion": self.version.to_string()});
        self.watches.retain(|watch| {
            let (kind, version) = kind(&watch.collection);
            let object = json!({"kind": kind, "apiVersion": version, "metadata": metadata});
            watch.chunks.send(Ok(event("BOOKMARK", &object, watch.form))).is_ok()
        });
    }

    /// Ends every watch cleanly.
    pub fn end_watches(&mut self) {
        self.watches.clear();
    }

    /// Sets the version back, as restoring an old backup does.
    pub fn rewind(&mut self, version: u64) {
        self.version = version;
    }

    fn tell(&mut self, collection: &str, what: &str, object: &Value) {
        self.watches.retain(|watch| {
            watch.collection != collection || watch.chunks.send(Ok(event(what, object, watch.form))).is_ok()
        });
    }

    fn watch(
        &mut self,
        path: String,
        query: &BTreeMap<String, String>,
        fault: Option<Fault>,
        form: Form,
    ) -> Response<Body> {
        let (chunks, rest) = mpsc::unbounded_channel();
        let send = |line| drop(chunks.send(Ok(line)));
        match &fault {
            Some(Fault::Expired) => {
                let status = json!({"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"});
                send(event("ERROR", &status, form));
                return Response::new(stream(rest));
            }
            Some(Fault::Line(text)) => send(Bytes::from(format!("{text}\n"))),
            Some(Fault::Octets(octets)) => send(Bytes::from(octets.clone())),
            Some(Fault::Cut) => {
                drop(chunks.send(Err(std::io::Error::other("cut"))));
                return Response::new(stream(rest));
            }
            _ => {}
        }
        let since = query.get("resourceVersion").and_then(|version| version.parse().ok());
        for object in self.objects.get(&path).into_iter().flat_map(BTreeMap::values) {
            if since.is_none_or(|since: u64| version(object) > since) {
                send(event("ADDED", object, form));
            }
        }
        if query.contains_key("sendInitialEvents") && !matches!(fault, Some(Fault::NoBookmark)) {
            let annotations = json!({"k8s.io/initial-events-end": "true"});
            let metadata = json!({"resourceVersion": self.version.to_string(), "annotations": annotations});
            let (kind, version) = kind(&path);
            let object = json!({"kind": kind, "apiVersion": version, "metadata": metadata});
            send(event("BOOKMARK", &object, form));
        }
        self.watches.push(Watch { collection: path, form, chunks });
        Response::new(stream(rest))
    }

    fn list(&self, path: &str, query: &BTreeMap<String, String>, fault: Option<Fault>, form: Form) -> Response<Body> {
        let all: Vec<&Value> = self.objects.get(path).into_iter().flat_map(BTreeMap::values).collect();
        let number = |name: &str| query.get(name).and_then(|text| text.parse().ok());
        let (from, limit): (usize, usize) = (number("continue").unwrap_or(0), number("limit").unwrap_or(usize::MAX));
        let all = if matches!(fault, Some(Fault::Empty)) { Vec::new() } else { all };
        let items = &all[from.min(all.len())..all.len().min(from.saturating_add(limit))];
        let rest = all.len() - from - items.len();
        let mut metadata = json!({"resourceVersion": self.version.to_string()});
        if rest > 0 {
            metadata["continue"] = (from + limit).to_string().into();
            metadata["remainingItemCount"] = rest.into();
        }
        let (kind, version) = kind(path);
        if form == Form::Protobuf {
            let mut list = protobuf::field(1, protobuf::message("ListMeta", &metadata));
            list.extend(items.iter().flat_map(|item| protobuf::field(2, protobuf::message(kind, item))));
            return Response::new(full(protobuf::bytes(&protobuf::wrapped(version, &format!("{kind}List"), list))));
        }
        let list = json!({"kind": format!("{kind}List"), "apiVersion": version, "metadata": metadata, "items": items});
        Response::new(full(list.to_string()))
    }
}

fn refuse(status: u16, headers: &[(&str, &str)], form: Form) -> Response<Body> {
    let object = json!({"kind": "Status", "code": status, "message": format!("scripted {status}")});
    let body = match form {
        Form::Json => object.to_string().into_bytes(),
        Form::Protobuf => protobuf::bytes(&protobuf::wrapped("v1", "Status", protobuf::message("Status", &object))),
    };
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(full(body)).expect("a response")
}

fn full(body: impl Into<Bytes>) -> Body {
    http_body_util::Full::new(body.into()).map_err(|never: Infallible| match never {}).boxed_unsync()
}

fn stream(chunks: mpsc::UnboundedReceiver<Result<Bytes, std::io::Error>>) -> Body {
    let frames = futures_util::stream::unfold(chunks, |mut chunks| async {
        let chunk = chunks.recv().await?;
        Some((chunk.map(Frame::data), chunks))
    });
    http_body_util::StreamBody::new(frames).boxed_unsync()
}

fn event(what: &str, object: &Value, form: Form) -> Bytes {
    if form == Form::Json {
        return Bytes::from(format!("{}\n", json!({"type": what, "object": object})));
    }
    let text = |name: &str| object[name].as_str().unwrap_or_default();
    let kind = text("kind");
    let object = protobuf::wrapped(text("apiVersion"), kind, protobuf::message(kind, object));
    let event = protobuf::bytes(&protobuf::event(what, object));
    Bytes::from([&(event.len() as u32).to_be_bytes()[..], &event].concat())
}

fn version(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().and_then(|text| text.parse().ok()).unwrap_or_default()
}

fn key(object: &Value) -> String {
    let text = |name: &str| object["metadata"][name].as_str().unwrap_or_default().to_owned();
    format!("{}/{}", text("namespace"), text("name"))
}

const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// Kinds and their collections.
const COLLECTIONS: [(&str, &str); 5] = [
    ("Namespace", "/api/v1/namespaces"),
    ("Service", "/api/v1/services"),
    ("Pod", "/api/v1/pods"),
    ("EndpointSlice", "/apis/discovery.k8s.io/v1/endpointslices"),
    ("ServiceImport", "/apis/multicluster.x-k8s.io/v1alpha1/serviceimports"),
];

fn collection(object: &Value) -> String {
    let wanted = object["kind"].as_str().expect("a kind");
    let found = COLLECTIONS.iter().find(|(kind, _)| *kind == wanted);
    found.unwrap_or_else(|| panic!("no collection for {wanted}")).1.to_owned()
}

/// Returns the kind of a collection's objects, and their version: `("EndpointSlice",
/// "discovery.k8s.io/v1")`.
fn kind(path: &str) -> (&'static str, &str) {
    let kind = COLLECTIONS.iter().find(|(_, collection)| *collection == path).map_or("", |(kind, _)| *kind);
    let version = path.rsplit_once('/').map_or("", |(version, _)| version);
    (kind, version.trim_start_matches("/apis/").trim_start_matches("/api/"))
}
