//! Errors of a store in words.
//!
//! The messages of `object_store` contain URLs, whose queries may be signatures, and whole answers in XML. What is
//! kept is the status, the code and the message of the store, and the last cause of a failed connection.

use std::error::Error as _;
use std::io;

use object_store::Error;

/// The longest message of a store that is kept, in bytes.
const MAX_MESSAGE: usize = 200;

/// Codes of answers to valid credentials without the right to do something.
const NO_RIGHT: [&str; 2] = ["AccessDenied", "AuthorizationPermissionMismatch"];

/// Returns true for a refusal of credentials that are valid.
pub(crate) fn is_without_right(error: &Error) -> bool {
    is_refused(error)
        && element(&deepest(error), "Code").is_some_and(|code| NO_RIGHT.contains(&code))
}

/// Turns an error of a store into one that names neither URL nor secret.
pub(crate) fn io_error(error: &Error) -> io::Error {
    let kind = match error {
        Error::NotFound { .. } => io::ErrorKind::NotFound,
        error if is_refused(error) => io::ErrorKind::PermissionDenied,
        Error::AlreadyExists { .. } => io::ErrorKind::AlreadyExists,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, words(error))
}

/// Returns true if the store refuses access. Of some requests, such as listing, only the status shows it.
pub(crate) fn is_refused(error: &Error) -> bool {
    let is_refusal = |status: &str| status.starts_with("401") || status.starts_with("403");
    matches!(
        error,
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. }
    ) || status(&deepest(error)).is_some_and(is_refusal)
}

/// Returns true for an answer that means that there is no file any more.
pub(crate) fn is_gone(error: &Error) -> bool {
    status(&deepest(error)).is_some_and(|status| status.starts_with("410"))
}

/// Returns true for an answer with the whole file in place of a range of it.
pub(crate) fn is_without_ranges(error: &Error) -> bool {
    let text = deepest(error);
    text.contains("non-partial response") || text.contains("Range request not supported")
}

/// Returns true for a file that is another one than before.
pub(crate) fn is_replaced(error: &Error) -> bool {
    matches!(error, Error::Precondition { .. })
}

/// Returns true if the same request may succeed later.
pub(crate) fn is_passing(error: &Error) -> bool {
    let is_final = matches!(
        error,
        Error::NotFound { .. }
            | Error::PermissionDenied { .. }
            | Error::Unauthenticated { .. }
            | Error::Precondition { .. }
            | Error::NotSupported { .. }
    );
    // 4xx: the request itself is wrong. 3xx without an address: the region is.
    !is_final
        && !status(&deepest(error)).is_some_and(|status| status.starts_with('4'))
        && !is_redirect(error)
}

fn is_redirect(error: &Error) -> bool {
    deepest(error).contains("redirect without LOCATION")
}

fn words(error: &Error) -> String {
    let text = deepest(error);
    if is_redirect(error) {
        return "the bucket is in another region: set AWS_REGION to it".to_owned();
    }
    if is_replaced(error) {
        return "it was replaced while it was read; start again when it no longer changes"
            .to_owned();
    }
    let Some(status) = status(&text) else {
        return shortened(&without_queries(&text));
    };
    let mut words = format!("the server answered {status}");
    if let Some(code) = element(&text, "Code") {
        words.push_str(&format!(" ({})", shortened(code)));
    }
    if let Some(message) = element(&text, "Message").filter(|message| !message.is_empty()) {
        words.push_str(&format!(": {}", shortened(&without_queries(message))));
    }
    words
}

/// Returns the text of an element of an answer in XML.
fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    Some(rest.split_once('<')?.0.trim())
}

/// Returns the status of an answer, such as `403 Forbidden`.
fn status(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("status code: ")?;
    let end = rest.find([':', '<', '\n']).unwrap_or(rest.len());
    Some(rest[..end].trim())
}

/// Returns the message of the last cause.
pub(crate) fn deepest(error: &Error) -> String {
    let mut last = error.source();
    while let Some(source) = last.and_then(|error| error.source()) {
        last = Some(source);
    }
    last.map_or_else(|| error.to_string(), ToString::to_string)
}

/// Removes the query of every URL.
fn without_queries(text: &str) -> String {
    let mut words = Vec::new();
    for word in text.split(' ') {
        match word.split_once('?') {
            Some((url, _)) if url.contains("://") => words.push(url),
            _ => words.push(word),
        }
    }
    words.join(" ")
}

fn shortened(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match text.char_indices().nth(MAX_MESSAGE) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Cause(String);

    fn generic(text: &str) -> Error {
        Error::Generic {
            store: "S3",
            source: Box::new(Cause(text.to_owned())),
        }
    }

    #[test]
    fn answers_of_a_store_are_short_and_without_secrets() {
        let answer = "Server returned non-2xx status code: 403 Forbidden: <?xml version=\"1.0\"?><Error>\
                      <Code>AccessDenied</Code><Message>see https://h/b?X-Signature=secret now</Message>\
                      <AWSAccessKeyId>key</AWSAccessKeyId></Error>";
        let error = generic(answer);
        assert_eq!(
            io_error(&error).to_string(),
            "the server answered 403 Forbidden (AccessDenied): see https://h/b now"
        );
        assert!(!is_passing(&error));
    }

    #[test]
    fn refused_listings_are_recognised_by_their_status() {
        let answer = |status: &str, code: &str| {
            generic(&format!(
                "Server returned non-2xx status code: {status}: <Error><Code>{code}</Code></Error>"
            ))
        };
        for (status, code, expected, is_valid) in [
            ("403 Forbidden", "AccessDenied", true, true),
            (
                "403 Forbidden",
                "AuthorizationPermissionMismatch",
                true,
                true,
            ),
            ("403 Forbidden", "SignatureDoesNotMatch", true, false),
            ("401 Unauthorized", "AuthenticationRequired", true, false),
            ("404 Not Found", "NoSuchBucket", false, false),
        ] {
            let error = answer(status, code);
            assert_eq!(is_refused(&error), expected, "{code}");
            assert_eq!(is_without_right(&error), is_valid, "{code}");
            let kind = io_error(&error).kind();
            assert_eq!(kind == io::ErrorKind::PermissionDenied, expected, "{code}");
        }
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        assert!(is_passing(&generic(
            "Server returned non-2xx status code: 503 Slow Down: "
        )));
        assert!(is_passing(&generic("connection reset by peer")));
        assert!(!is_passing(&generic(
            "Received redirect without LOCATION, this normally indicates"
        )));
        let replaced = Error::Precondition {
            path: "a".into(),
            source: Box::new(Cause("412".into())),
        };
        assert!(!is_passing(&replaced) && is_replaced(&replaced));
    }
}
