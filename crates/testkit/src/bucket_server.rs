//! A server on loopback with the part of S3's interface that the program uses, and faults on demand.
//!
//! Objects are kept in memory, by `bucket/key`. Each write gets another ETag. A [`Fault`] is met by requests of one
//! [`Operation`] on keys with one ending.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// An object, or a range of it.
    Get,
    /// What is known of an object.
    Head,
    /// The names with a prefix.
    List,
    /// A whole object is written.
    Put,
    /// An object is removed.
    Delete,
    /// A multipart upload begins.
    Create,
    /// A part is written.
    Part,
    /// The parts become an object.
    Complete,
    /// The parts are discarded.
    Abort,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is answered with this status and not executed.
    Status(u16),
    /// It is not executed, and the connection is closed.
    Drop,
    /// It is executed, and the connection is closed without an answer.
    LoseAnswer,
    /// Half of the body of the answer is sent, then the connection is closed.
    Truncate,
    /// It waits before it is executed.
    Delay(Duration),
    /// The answer to a completion has status 200 and an error as its body; nothing is executed.
    ErrorBody,
}

/// A rule by which requests fail.
#[derive(Clone, Debug)]
pub struct Fault {
    operation: Operation,
    ending: String,
    action: Action,
    skip: usize,
    count: usize,
}

impl Fault {
    /// A fault of every request of `operation` on keys that end with `ending`.
    pub fn every(operation: Operation, ending: &str, action: Action) -> Self {
        Self {
            operation,
            ending: ending.to_owned(),
            action,
            skip: 0,
            count: usize::MAX,
        }
    }

    /// Lets the first `skip` requests pass.
    #[must_use]
    pub fn after(mut self, skip: usize) -> Self {
        self.skip = skip;
        self
    }

    /// Affects at most `count` requests.
    #[must_use]
    pub fn times(mut self, count: usize) -> Self {
        self.count = count;
        self
    }
}

/// A request that was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// What it asks for.
    pub operation: Operation,
    /// The bucket and the key; for [`Operation::List`] the prefix.
    pub key: String,
    /// The range of [`Operation::Get`], as it was sent.
    pub range: Option<String>,
}

#[derive(Clone, Debug, Default)]
struct Object {
    bytes: Arc<Vec<u8>>,
    etag: String,
    metadata: Vec<(String, String)>,
}

#[derive(Debug)]
struct MultipartUpload {
    key: String,
    parts: BTreeMap<usize, Vec<u8>>,
    metadata: Vec<(String, String)>,
}

#[derive(Debug, Default)]
struct State {
    buckets: Vec<String>,
    objects: BTreeMap<String, Object>,
    uploads: BTreeMap<String, MultipartUpload>,
    faults: Vec<Fault>,
    seen: Vec<Seen>,
    written: u64,
    latency: Duration,
    refuses_unsigned: bool,
    drops_metadata: bool,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    ends: AtomicBool,
}

/// A running server; it ends when dropped.
#[derive(Debug)]
pub struct BucketServer {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Request {
    method: String,
    path: String,
    query: BTreeMap<String, String>,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

#[derive(Default)]
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// The length that `HEAD` states.
    len: Option<usize>,
}

impl BucketServer {
    /// Starts a server with empty buckets.
    pub fn start(buckets: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        shared.state().buckets = buckets.iter().map(|name| (*name).to_owned()).collect();
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if serving.ends.load(Ordering::Relaxed) {
                    break;
                }
                let serving = Arc::clone(&serving);
                // A connection that is closed by the other side ends the thread.
                thread::spawn(move || serve(&serving, &stream));
            }
        });
        Self { address, shared }
    }

    /// Returns the URL of the server.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the environment in which the program uses this server, with credentials.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let mut variables = self.environment_without_credentials();
        variables.push(("AWS_ACCESS_KEY_ID", "key-of-the-test".to_owned()));
        variables.push(("AWS_SECRET_ACCESS_KEY", "secret-of-the-test".to_owned()));
        variables
    }

    /// As [`environment`](Self::environment), without credentials.
    pub fn environment_without_credentials(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT_URL", self.url()),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
            ("AWS_CONFIG_FILE", "/dev/null".to_owned()),
            ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null".to_owned()),
        ]
    }

    /// Refuses requests without a signature.
    pub fn refuse_unsigned(&self) {
        self.shared.state().refuses_unsigned = true;
    }

    /// Keeps no metadata of objects from now on.
    pub fn drop_metadata(&self) {
        self.shared.state().drops_metadata = true;
    }

    /// Delays every answer.
    pub fn set_latency(&self, latency: Duration) {
        self.shared.state().latency = latency;
    }

    /// Adds a fault. The first one that applies to a request is used.
    pub fn add_fault(&self, fault: Fault) {
        self.shared.state().faults.push(fault);
    }

    /// Removes all faults and forgets the requests so far.
    pub fn reset(&self) {
        let mut state = self.shared.state();
        state.faults.clear();
        state.seen.clear();
    }

    /// Writes an object; the key begins with the bucket.
    pub fn put(&self, key: &str, bytes: impl Into<Vec<u8>>) {
        let mut state = self.shared.state();
        state.store(key.to_owned(), bytes.into(), Vec::new());
    }

    /// Removes an object.
    pub fn remove(&self, key: &str) {
        self.shared.state().objects.remove(key);
    }

    /// Returns all objects by bucket and key.
    pub fn objects(&self) -> BTreeMap<String, Arc<Vec<u8>>> {
        let state = self.shared.state();
        let objects = state.objects.iter();
        objects
            .map(|(key, object)| (key.clone(), Arc::clone(&object.bytes)))
            .collect()
    }

    /// Returns the number of multipart uploads that were neither completed nor aborted.
    pub fn open_uploads(&self) -> usize {
        self.shared.state().uploads.len()
    }

    /// Returns the requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.state().seen.clone()
    }

    /// Waits until there were `count` requests of an operation on keys with an ending; fails after a minute.
    pub fn wait_for(&self, operation: Operation, ending: &str, count: usize) {
        let deadline = Instant::now() + Duration::from_mins(1);
        let mut state = self.shared.state();
        loop {
            let met = state.seen.iter();
            let met = met.filter(|seen| seen.operation == operation && seen.key.ends_with(ending));
            if met.count() >= count {
                return;
            }
            assert!(Instant::now() < deadline, "no {operation:?} of {ending}");
            let waited = self
                .shared
                .changed
                .wait_timeout(state, Duration::from_millis(50));
            state = waited.unwrap().0;
        }
    }
}

impl Drop for BucketServer {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts connections.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

/// Serves the requests of one connection.
fn serve(shared: &Shared, stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    while let Some(request) = Request::read(&mut reader)? {
        if shared.ends.load(Ordering::Relaxed) {
            break;
        }
        let operation = request.operation();
        let key = match operation {
            Operation::List => format!("{}/{}", request.path, request.parameter("prefix")),
            _ => request.path.clone(),
        };
        let (action, latency) = {
            let mut state = shared.state();
            state.seen.push(Seen {
                operation,
                key: key.clone(),
                range: request.headers.get("range").cloned(),
            });
            (state.action(operation, &key), state.latency)
        };
        shared.changed.notify_all();
        thread::sleep(latency);
        let answer = match action {
            Some(Action::Drop) => break,
            Some(Action::Status(status)) => Answer::error(status, "Injected"),
            Some(Action::ErrorBody) => {
                let mut answer = Answer::error(200, "InternalError");
                answer.status = 200;
                answer
            }
            Some(Action::Delay(time)) => {
                thread::sleep(time);
                shared.state().execute(operation, &request)
            }
            Some(Action::LoseAnswer | Action::Truncate) | None => {
                shared.state().execute(operation, &request)
            }
        };
        if action == Some(Action::LoseAnswer) {
            break;
        }
        let is_cut = action == Some(Action::Truncate);
        answer.write(stream, operation == Operation::Head, is_cut)?;
        if is_cut {
            break;
        }
    }
    stream.shutdown(std::net::Shutdown::Both)
}

impl State {
    fn action(&mut self, operation: Operation, key: &str) -> Option<Action> {
        let fault = self.faults.iter_mut().find(|fault| {
            fault.operation == operation && key.ends_with(&fault.ending) && fault.count > 0
        })?;
        if fault.skip > 0 {
            fault.skip -= 1;
            return None;
        }
        fault.count -= 1;
        Some(fault.action)
    }

    fn store(
        &mut self,
        key: String,
        bytes: Vec<u8>,
        mut metadata: Vec<(String, String)>,
    ) -> String {
        self.written += 1;
        if self.drops_metadata {
            metadata.clear();
        }
        let etag = format!("\"{:032x}\"", self.written);
        let object = Object {
            bytes: Arc::new(bytes),
            etag: etag.clone(),
            metadata,
        };
        self.objects.insert(key, object);
        etag
    }

    fn execute(&mut self, operation: Operation, request: &Request) -> Answer {
        let bucket = request.path.split('/').next().unwrap_or_default();
        if !self.buckets.iter().any(|known| known == bucket) {
            return Answer::error(404, "NoSuchBucket");
        }
        if self.refuses_unsigned && !request.headers.contains_key("authorization") {
            return Answer::error(403, "AccessDenied");
        }
        let key = request.path.clone();
        match operation {
            Operation::Get | Operation::Head => self.get(request),
            Operation::List => self.list(bucket, request),
            Operation::Put => {
                let found = self.objects.get(&key);
                let must_be_new = request.headers.contains_key("if-none-match");
                let wanted = request.headers.get("if-match");
                if must_be_new && found.is_some()
                    || wanted.is_some() && wanted != found.map(|found| &found.etag)
                {
                    return Answer::error(412, "PreconditionFailed");
                }
                let etag = self.store(key, request.body.clone(), request.metadata());
                Answer::ok().with("ETag", &etag)
            }
            Operation::Delete => {
                self.objects.remove(&key);
                Answer::status(204)
            }
            Operation::Create => {
                self.written += 1;
                let id = format!("upload-{}", self.written);
                let upload = MultipartUpload {
                    key,
                    parts: BTreeMap::new(),
                    metadata: request.metadata(),
                };
                self.uploads.insert(id.clone(), upload);
                Answer::xml(&format!(
                    "<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"
                ))
            }
            Operation::Part => {
                let number = request.parameter("partNumber").parse().unwrap();
                let Some(upload) = self.uploads.get_mut(request.parameter("uploadId")) else {
                    return Answer::error(404, "NoSuchUpload");
                };
                upload.parts.insert(number, request.body.clone());
                Answer::ok().with("ETag", &format!("\"part-{number}\""))
            }
            Operation::Complete => {
                let Some(upload) = self.uploads.remove(request.parameter("uploadId")) else {
                    return Answer::error(404, "NoSuchUpload");
                };
                let bytes = upload.parts.into_values().flatten().collect();
                let etag = self.store(upload.key, bytes, upload.metadata);
                Answer::xml(&format!(
                    "<CompleteMultipartUploadResult><ETag>{etag}</ETag></CompleteMultipartUploadResult>"
                ))
            }
            Operation::Abort => match self.uploads.remove(request.parameter("uploadId")) {
                Some(_) => Answer::status(204),
                None => Answer::error(404, "NoSuchUpload"),
            },
        }
    }

    fn get(&self, request: &Request) -> Answer {
        let Some(object) = self.objects.get(&request.path) else {
            return Answer::error(404, "NoSuchKey");
        };
        let wanted = request.headers.get("if-match");
        if wanted.is_some_and(|wanted| *wanted != object.etag) {
            return Answer::error(412, "PreconditionFailed");
        }
        let all = object.bytes.len();
        let mut answer = match request.headers.get("range") {
            None => Answer::ok(),
            Some(range) => match range_of(range, all) {
                None => return Answer::error(416, "InvalidRange"),
                Some((start, end)) => {
                    let mut answer = Answer::status(206);
                    let range = format!("bytes {start}-{}/{all}", end - 1);
                    answer = answer.with("Content-Range", &range);
                    answer.body = object.bytes[start..end].to_vec();
                    answer
                }
            },
        };
        if answer.status == 200 {
            if request.method == "GET" {
                answer.body.clone_from(&object.bytes);
            }
            answer.len = Some(all);
        }
        for (name, value) in &object.metadata {
            answer = answer.with(name, value);
        }
        answer
            .with("ETag", &object.etag)
            .with("Last-Modified", "Sat, 01 Aug 2026 00:00:00 GMT")
            .with("Content-Type", "binary/octet-stream")
    }

    fn list(&self, bucket: &str, request: &Request) -> Answer {
        let prefix = request.parameter("prefix");
        let delimiter = request.parameter("delimiter");
        let after = request
            .parameter("continuation-token")
            .max(request.parameter("start-after"));
        let most: usize = request.parameter("max-keys").parse().unwrap_or(1000);
        let mut text = String::new();
        let mut folders: Vec<String> = Vec::new();
        let mut last = None;
        let mut count = 0;
        for (key, object) in &self.objects {
            let Some(key) = key.strip_prefix(&format!("{bucket}/")) else {
                continue;
            };
            let Some(rest) = key.strip_prefix(prefix).filter(|_| key > after) else {
                continue;
            };
            let folder = match delimiter {
                "" => None,
                delimiter => rest.split_once(delimiter),
            };
            if let Some((folder, _)) = folder {
                let folder = format!("{prefix}{folder}{delimiter}");
                if !folders.contains(&folder) && !after.starts_with(&folder) {
                    folders.push(folder);
                }
                continue;
            }
            if count == most {
                last = Some(text.clone());
                break;
            }
            count += 1;
            write!(
                text,
                "<Contents><Key>{}</Key><LastModified>2026-08-01T00:00:00.000Z</LastModified><ETag>{}</ETag>\
                 <Size>{}</Size></Contents>",
                escaped(key),
                object.etag,
                object.bytes.len()
            )
            .unwrap();
        }
        let next = last.map_or_else(String::new, |listed| {
            let (_, key) = listed.rsplit_once("<Key>").expect("max-keys is not 0");
            let (key, _) = key.split_once('<').expect("written so");
            format!("<NextContinuationToken>{key}</NextContinuationToken>")
        });
        for folder in folders {
            write!(
                text,
                "<CommonPrefixes><Prefix>{}</Prefix></CommonPrefixes>",
                escaped(&folder)
            )
            .unwrap();
        }
        Answer::xml(&format!(
            "<ListBucketResult><IsTruncated>{}</IsTruncated>{next}{text}</ListBucketResult>",
            !next.is_empty()
        ))
    }
}

fn escaped(key: &str) -> String {
    key.replace('&', "&amp;").replace('<', "&lt;")
}

/// Returns the bytes that a `Range` header names, start and end.
fn range_of(range: &str, all: usize) -> Option<(usize, usize)> {
    let (start, end) = range.strip_prefix("bytes=")?.split_once('-')?;
    let (start, end) = match (start, end) {
        ("", last) => (all.saturating_sub(last.parse().ok()?), all),
        (start, "") => (start.parse().ok()?, all),
        (start, end) => (start.parse().ok()?, end.parse::<usize>().ok()? + 1),
    };
    (start < all && start < end).then_some((start, end.min(all)))
}

impl Request {
    /// Reads a request; `None` at the end of the connection.
    fn read(reader: &mut BufReader<&TcpStream>) -> io::Result<Option<Self>> {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let mut words = line.split(' ');
        let method = words.next().unwrap_or_default().to_owned();
        let target = words.next().unwrap_or_default().to_owned();
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            match line.trim_end().split_once(':') {
                None => break,
                Some((name, value)) => {
                    headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
                }
            }
        }
        let len = headers.get("content-length").map_or("0", |len| len);
        let mut body = vec![0; len.parse().map_err(io::Error::other)?];
        reader.read_exact(&mut body)?;
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let query = query.split('&').filter(|pair| !pair.is_empty());
        let query = query.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        Ok(Some(Self {
            method,
            path: decoded(path.trim_start_matches('/'))
                .trim_end_matches('/')
                .to_owned(),
            query: query
                .map(|(name, value)| (decoded(name), decoded(value)))
                .collect(),
            headers,
            body,
        }))
    }

    fn operation(&self) -> Operation {
        let has = |name: &str| self.query.contains_key(name);
        match &self.method[..] {
            "HEAD" => Operation::Head,
            "GET" if has("list-type") => Operation::List,
            "PUT" if has("partNumber") => Operation::Part,
            "PUT" => Operation::Put,
            "POST" if has("uploads") => Operation::Create,
            "POST" => Operation::Complete,
            "DELETE" if has("uploadId") => Operation::Abort,
            "DELETE" => Operation::Delete,
            _ => Operation::Get,
        }
    }

    fn parameter(&self, name: &str) -> &str {
        self.query.get(name).map_or("", |value| value)
    }

    fn metadata(&self) -> Vec<(String, String)> {
        let headers = self.headers.iter();
        let own = headers.filter(|(name, _)| name.starts_with("x-amz-meta-"));
        own.map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }
}

/// Undoes percent encoding.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        let code = match (first, after) {
            (b'%', [high, low, ..]) => {
                let digits = [*high, *low];
                std::str::from_utf8(&digits)
                    .ok()
                    .and_then(|digits| u8::from_str_radix(digits, 16).ok())
            }
            _ => None,
        };
        if code.is_some() {
            rest = &rest[2..];
        }
        bytes.push(code.unwrap_or(*first));
    }
    String::from_utf8(bytes).unwrap()
}

impl Answer {
    fn status(status: u16) -> Self {
        Self {
            status,
            ..Self::default()
        }
    }

    fn ok() -> Self {
        Self::status(200)
    }

    fn xml(text: &str) -> Self {
        let mut answer = Self::ok().with("Content-Type", "application/xml");
        answer.body = text.as_bytes().to_vec();
        answer
    }

    fn error(status: u16, code: &str) -> Self {
        let mut answer = Self::xml(&format!("<Error><Code>{code}</Code></Error>"));
        answer.status = status;
        answer
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    fn write(&self, mut stream: &TcpStream, is_head: bool, is_cut: bool) -> io::Result<()> {
        let len = self.len.unwrap_or(self.body.len());
        let mut head = format!(
            "HTTP/1.1 {} Answer\r\nContent-Length: {len}\r\n",
            self.status
        );
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes())?;
        if !is_head {
            let end = if is_cut {
                self.body.len() / 2
            } else {
                self.body.len()
            };
            stream.write_all(&self.body[..end])?;
        }
        stream.flush()
    }
}
