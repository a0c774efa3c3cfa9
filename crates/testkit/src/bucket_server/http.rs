//! Requests and answers of the server, as far as its tests need HTTP.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

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

pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) query: BTreeMap<String, String>,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Vec<u8>,
}

#[derive(Default)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    /// The length that `HEAD` states.
    pub(super) len: Option<usize>,
}

impl Request {
    /// Reads a request; `None` at the end of the connection.
    pub(super) fn read(reader: &mut BufReader<&TcpStream>) -> io::Result<Option<Self>> {
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

    pub(super) fn operation(&self) -> Operation {
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

    pub(super) fn parameter(&self, name: &str) -> &str {
        self.query.get(name).map_or("", |value| value)
    }

    pub(super) fn metadata(&self) -> Vec<(String, String)> {
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
    pub(super) fn status(status: u16) -> Self {
        Self {
            status,
            ..Self::default()
        }
    }

    pub(super) fn ok() -> Self {
        Self::status(200)
    }

    pub(super) fn xml(text: &str) -> Self {
        let mut answer = Self::ok().with("Content-Type", "application/xml");
        answer.body = text.as_bytes().to_vec();
        answer
    }

    pub(super) fn error(status: u16, code: &str) -> Self {
        let mut answer = Self::xml(&format!("<Error><Code>{code}</Code></Error>"));
        answer.status = status;
        answer
    }

    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(super) fn write(
        &self,
        mut stream: &TcpStream,
        is_head: bool,
        is_cut: bool,
    ) -> io::Result<()> {
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

/// Returns the bytes that a `Range` header names, start and end.
pub(super) fn range_of(range: &str, all: usize) -> Option<(usize, usize)> {
    let (start, end) = range.strip_prefix("bytes=")?.split_once('-')?;
    let (start, end) = match (start, end) {
        ("", last) => (all.saturating_sub(last.parse().ok()?), all),
        (start, "") => (start.parse().ok()?, all),
        (start, end) => (start.parse().ok()?, end.parse::<usize>().ok()? + 1),
    };
    (start < all && start < end).then_some((start, end.min(all)))
}
