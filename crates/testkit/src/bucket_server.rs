//! A server on loopback with the part of S3's interface that the program uses, and faults on demand.
//!
//! Objects are kept in memory, by `bucket/key`. Each write gets another ETag. A [`Fault`] is met by requests of one
//! [`Operation`] on keys with one ending.

use std::collections::BTreeMap;
use std::io::{self, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

mod http;
mod store;

pub use self::http::Operation;
use self::http::{Answer, Request};
use self::store::Store;

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
    /// As [`Truncate`](Self::Truncate), of the whole object: its range is ignored.
    TruncateWhole,
    /// It waits before it is executed.
    Delay(Duration),
    /// It is executed with one byte in the middle of its body changed.
    Damage,
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

#[derive(Debug, Default)]
struct State {
    store: Store,
    faults: Vec<Fault>,
    seen: Vec<Seen>,
    latency: Duration,
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

impl BucketServer {
    /// Starts a server with empty buckets.
    pub fn start(buckets: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        shared.state().store.buckets = buckets.iter().map(|name| (*name).to_owned()).collect();
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
        self.shared.state().store.refuses_unsigned = true;
    }

    /// Keeps no metadata of objects from now on.
    pub fn drop_metadata(&self) {
        self.shared.state().store.drops_metadata = true;
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
        state.store.put(key.to_owned(), bytes.into(), Vec::new());
    }

    /// Removes an object.
    pub fn remove(&self, key: &str) {
        self.shared.state().store.objects.remove(key);
    }

    /// Returns all objects by bucket and key.
    pub fn objects(&self) -> BTreeMap<String, Arc<Vec<u8>>> {
        let state = self.shared.state();
        let objects = state.store.objects.iter();
        objects
            .map(|(key, object)| (key.clone(), Arc::clone(&object.bytes)))
            .collect()
    }

    /// Returns the number of multipart uploads that were neither completed nor aborted.
    pub fn open_uploads(&self) -> usize {
        self.shared.state().store.uploads.len()
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
    while let Some(mut request) = Request::read(&mut reader)? {
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
                shared.state().store.execute(operation, &request)
            }
            Some(Action::Damage) => {
                let middle = request.body.len() / 2;
                request.body[middle] ^= 1;
                shared.state().store.execute(operation, &request)
            }
            Some(Action::TruncateWhole) => {
                request.headers.remove("range");
                shared.state().store.execute(operation, &request)
            }
            Some(Action::LoseAnswer | Action::Truncate) | None => {
                shared.state().store.execute(operation, &request)
            }
        };
        if action == Some(Action::LoseAnswer) {
            break;
        }
        let is_cut = matches!(action, Some(Action::Truncate | Action::TruncateWhole));
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
}
