//! A manifest: one job a line, as a JSON object.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};
use tf_checkpoint::Limits;

use super::error::Error;

/// The greatest length of a manifest, in bytes.
pub const MAX_MANIFEST_LEN: u64 = 256 << 20;

/// A line of a manifest.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ManifestLine {
    /// The number of the line, from 1.
    #[serde(skip)]
    pub line: usize,
    /// The path or URL of the checkpoint; a relative path is one from the working directory.
    pub checkpoint: PathBuf,
    /// The name of the output directory, relative to OUT; by default that of the template.
    #[serde(default)]
    pub out: Option<String>,
    /// The model, in place of `--model`.
    #[serde(default)]
    pub model: Option<String>,
    /// The training step of the checkpoint, if the path leads to several.
    #[serde(default)]
    pub step: Option<u64>,
    /// Options of `convert` by their names, in place of those of the command line: `{"dtype": "f16"}`.
    #[serde(default)]
    pub options: Map<String, Value>,
}

/// Parses a manifest. Empty lines are allowed.
///
/// # Errors
/// [`Error::Manifest`] for the first line that is not understood, [`Error::Nothing`] if there is no line.
pub fn parse_manifest(path: &Path, text: &[u8]) -> Result<Vec<ManifestLine>, Error> {
    let mut lines = Vec::new();
    for (at, text) in text.split(|byte| *byte == b'\n').enumerate() {
        let text = text.trim_ascii();
        let text = if at == 0 {
            text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text)
        } else {
            text
        };
        if text.is_empty() {
            continue;
        }
        let error = |what: String| Error::Manifest {
            path: path.to_owned(),
            line: at + 1,
            what,
        };
        let checked = Limits::default().check_json(text);
        checked.map_err(|dense| error(dense.to_string()))?;
        let line: Result<ManifestLine, _> = serde_json::from_slice(text);
        let mut line = line.map_err(|found| {
            let found = if text.starts_with(b"{") {
                // The line is that of the manifest.
                found.to_string().replace(" at line 1 column ", ", column ")
            } else {
                "not a JSON object".to_owned()
            };
            error(format!(
                "{found}; expected a JSON object such as {{\"checkpoint\": \"run/model.ckpt-400\", \"model\": \
                 \"discriminator\"}}"
            ))
        })?;
        line.line = at + 1;
        lines.push(line);
    }
    if lines.is_empty() {
        let what = format!("{} has no line", path.display());
        return Err(Error::Nothing { what });
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<ManifestLine>, Error> {
        parse_manifest(Path::new("jobs.jsonl"), text.as_bytes())
    }

    #[test]
    fn lines_are_jobs() {
        let text = "\u{feff}{\"checkpoint\": \"a\"}\r\n\n{\"checkpoint\": \"b\", \"out\": \"x\", \"model\": \"both\", \
                    \"step\": 4, \"options\": {\"dtype\": \"f16\"}}";
        let lines = parse(text).unwrap();
        assert_eq!(lines.len(), 2);
        assert_eq!((lines[0].line, lines[1].line), (1, 3));
        assert_eq!(lines[1].out.as_deref(), Some("x"));
        assert_eq!(lines[1].options["dtype"], "f16");
    }

    #[test]
    fn other_lines_are_refused_by_their_number() {
        for (line, words) in [
            ("x", "not a JSON object"),
            ("[]", "not a JSON object"),
            ("{}", "`checkpoint`, column 2"),
            ("{\"checkpoint\": 1}", "expected path string, column 16"),
            ("{\"checkpoint\": \"a\", \"otu\": \"b\"}", "`otu`"),
        ] {
            let text = format!("{{\"checkpoint\": \"a\"}}\n{line}\n");
            let error = parse(&text).unwrap_err().to_string();
            assert!(error.contains("jobs.jsonl, line 2: "), "{error}");
            assert!(error.contains(words), "{error}");
        }
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(parse(&deep).is_err());
        assert!(
            parse("\n \n")
                .unwrap_err()
                .to_string()
                .contains("has no line")
        );
    }
}
