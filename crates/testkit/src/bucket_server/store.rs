//! The objects and multipart uploads of the server.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use super::http::{Answer, Operation, Request, range_of};

#[derive(Clone, Debug, Default)]
pub(super) struct Object {
    pub(super) bytes: Arc<Vec<u8>>,
    pub(super) etag: String,
    pub(super) metadata: Vec<(String, String)>,
}

#[derive(Debug)]
pub(super) struct MultipartUpload {
    pub(super) key: String,
    pub(super) parts: BTreeMap<usize, Vec<u8>>,
    pub(super) metadata: Vec<(String, String)>,
}

#[derive(Debug, Default)]
pub(super) struct Store {
    pub(super) buckets: Vec<String>,
    pub(super) objects: BTreeMap<String, Object>,
    pub(super) uploads: BTreeMap<String, MultipartUpload>,
    pub(super) refuses_unsigned: bool,
    pub(super) drops_metadata: bool,
    /// The number of writes, from which ETags are made.
    written: u64,
}

impl Store {
    /// Writes an object; returns its ETag.
    pub(super) fn put(
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

    /// Executes a request.
    pub(super) fn execute(&mut self, operation: Operation, request: &Request) -> Answer {
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
                let etag = self.put(key, request.body.clone(), request.metadata());
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
                let etag = self.put(upload.key, bytes, upload.metadata);
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
