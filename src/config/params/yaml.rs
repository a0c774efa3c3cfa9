//! Reads YAML into a tree of what `params.yaml` needs: mappings and scalars, with limits on depth.
//!
//! Anchors are never expanded. Lists, aliases and values with a tag are kept as [`Node::Other`]: they are errors
//! only where a setting is read.

use saphyr_parser::{Event, Parser, ScalarStyle};

/// The greatest depth of mappings and lists. `Trainer` writes files of depth 6.
const MAX_DEPTH: usize = 64;

/// A value of a YAML file.
#[derive(Clone, Debug)]
pub(super) enum Node {
    /// A scalar; `is_plain` if it has no quotes, so that it may be a number, a boolean or null.
    Scalar { text: String, is_plain: bool },
    /// A mapping, in the order of the file. Keys may occur twice.
    Mapping(Vec<(String, Node)>),
    /// Another value, described for messages.
    Other(&'static str),
}

/// The keys and values that a document or a collection in it has so far.
#[derive(Default)]
struct Open {
    /// True for mappings.
    is_mapping: bool,
    /// True if an event must not be read as a value of its own: a tag, or a key that is not a scalar.
    is_other: bool,
    key: Option<String>,
    entries: Vec<(String, Node)>,
}

impl Open {
    fn close(self) -> Node {
        match (self.is_mapping, self.is_other) {
            (false, _) => Node::Other("a list"),
            (true, true) => Node::Other("a mapping with a tag, or with keys that are not scalars"),
            (true, false) => Node::Mapping(self.entries),
        }
    }

    /// Adds a value, or the key of the next one. Elements of lists are dropped.
    fn add(&mut self, node: Node) {
        if !self.is_mapping {
            return;
        }
        match (self.key.take(), node) {
            (Some(key), node) => self.entries.push((key, node)),
            (None, Node::Scalar { text, .. }) => self.key = Some(text),
            (None, _) => {
                self.is_other = true;
                self.key = Some(String::new());
            }
        }
    }
}

/// Parses a file with one document.
///
/// # Errors
/// If it is not YAML, in words.
pub(super) fn parse(text: &[u8]) -> Result<Node, String> {
    let text = std::str::from_utf8(text).map_err(|error| format!("not UTF-8: {error}"))?;
    let mut root = None;
    let mut open: Vec<Open> = Vec::new();
    let mut documents = 0;
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| format!("not valid YAML: {error}"))?;
        let node = match event {
            Event::DocumentStart(_) => {
                documents += 1;
                if documents > 1 {
                    return Err("several YAML documents, expected one".to_owned());
                }
                continue;
            }
            Event::MappingStart(_, ref tag) | Event::SequenceStart(_, ref tag) => {
                if open.len() == MAX_DEPTH {
                    let line = span.start.line();
                    return Err(format!(
                        "line {line}: more than {MAX_DEPTH} nested mappings and lists"
                    ));
                }
                open.push(Open {
                    is_mapping: matches!(event, Event::MappingStart(..)),
                    is_other: tag.is_some(),
                    ..Open::default()
                });
                continue;
            }
            Event::MappingEnd | Event::SequenceEnd => {
                open.pop().expect("the parser pairs its events").close()
            }
            Event::Scalar(text, style, _, None) => Node::Scalar {
                text: text.into_owned(),
                is_plain: style == ScalarStyle::Plain,
            },
            Event::Scalar(..) => Node::Other("a value with a tag"),
            Event::Alias(_) => Node::Other("an alias"),
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => continue,
        };
        match open.last_mut() {
            Some(parent) => parent.add(node),
            None => root = Some(node),
        }
    }
    root.ok_or_else(|| "empty".to_owned())
}

impl Node {
    /// Returns the value of a key; `None` if this is a mapping without the key.
    ///
    /// # Errors
    /// If this is not a mapping, or has the key twice, in words.
    pub(super) fn get(&self, key: &str) -> Result<Option<&Self>, String> {
        let Self::Mapping(entries) = self else {
            return Err(format!("{self}, expected a mapping"));
        };
        let mut found = entries.iter().filter(|(name, _)| name == key);
        match (found.next(), found.next()) {
            (_, Some(_)) => Err(format!("a mapping with the key {key} twice")),
            (found, None) => Ok(found.map(|(_, node)| node)),
        }
    }

    /// Returns the text of a scalar.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    fn plain(&self) -> Option<&str> {
        match self {
            Self::Scalar {
                text,
                is_plain: true,
            } => Some(text),
            _ => None,
        }
    }

    /// Returns true for null.
    pub(super) fn is_null(&self) -> bool {
        matches!(self.plain(), Some("" | "~" | "null" | "Null" | "NULL"))
    }

    /// Returns a boolean, in the spellings that YAML 1.1 and 1.2 share.
    pub(super) fn boolean(&self) -> Option<bool> {
        match self.plain()? {
            "true" | "True" | "TRUE" => Some(true),
            "false" | "False" | "FALSE" => Some(false),
            _ => None,
        }
    }

    /// Returns a whole number in decimal. With a leading zero it would be octal in YAML 1.1.
    pub(super) fn size(&self) -> Option<usize> {
        let text = self.plain()?;
        let is_decimal = text.bytes().all(|byte| byte.is_ascii_digit());
        let is_octal = text.len() > 1 && text.starts_with('0');
        (is_decimal && !is_octal).then(|| text.parse().ok())?
    }
}

/// Describes the value for messages.
impl std::fmt::Display for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        /// Characters of a scalar in a message.
        const MAX_SHOWN: usize = 60;
        match self {
            Self::Scalar { text, is_plain } => {
                let cut: String = text.chars().take(MAX_SHOWN).collect();
                let more = if cut.len() < text.len() { "…" } else { "" };
                if *is_plain && !text.is_empty() {
                    write!(f, "{}{more}", cut.escape_debug())
                } else {
                    write!(f, "{cut:?}{more}")
                }
            }
            Self::Mapping(_) => f.write_str("a mapping"),
            Self::Other(what) => f.write_str(what),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    fn get<'a>(node: &'a Node, path: &[&str]) -> &'a Node {
        path.iter()
            .fold(node, |node, key| node.get(key).unwrap().unwrap())
    }

    #[test]
    fn scalars_have_the_types_that_yaml_1_1_and_1_2_share() {
        let text = b"a: {b: 12, c: '12', d: 012, e: true, f: yes, g: null, h: 'null', i: 1_0, j: +1, k: 99999999999999999999}\n";
        let root = parse(text).unwrap();
        let a = |key| get(&root, &["a", key]);
        assert_eq!(a("b").size(), Some(12));
        for key in ["c", "d", "e", "g", "i", "j", "k"] {
            assert_eq!(a(key).size(), None, "{key}");
        }
        assert_eq!((a("e").boolean(), a("f").boolean()), (Some(true), None));
        assert!(a("g").is_null() && !a("h").is_null());
        assert_eq!(a("c").to_string(), "\"12\"");
    }

    #[test]
    fn anchors_are_not_expanded() {
        let mut text = "a0: &a0 [x, x]\n".to_owned();
        for level in 1..60 {
            let last = level - 1;
            writeln!(text, "a{level}: &a{level} [*a{last}, *a{last}]").unwrap();
        }
        text.push_str("b: &b {c: 1}\nd: *b\ne: !!python/tuple [1]\nf: !x 1\n? [1, 2]\n: 3\n");
        let root = parse(text.as_bytes()).unwrap();
        assert!(root.get("a0").unwrap_err().contains("not scalars"));
        let text = text.replace("? [1, 2]\n: 3\n", "");
        let root = parse(text.as_bytes()).unwrap();
        assert_eq!(get(&root, &["b", "c"]).size(), Some(1));
        assert_eq!(get(&root, &["d"]).to_string(), "an alias");
        assert_eq!(get(&root, &["e"]).to_string(), "a list");
        assert_eq!(get(&root, &["f"]).to_string(), "a value with a tag");
        assert!(get(&root, &["d"]).get("c").is_err());
    }

    #[test]
    fn other_files_are_errors() {
        let deep = "[".repeat(1 << 20);
        let braces = "{a: ".repeat(1 << 18);
        let lists = "- ".repeat(1 << 19);
        let mut steps = String::new();
        for depth in 0..1000 {
            writeln!(steps, "{}a:", " ".repeat(depth)).unwrap();
        }
        for (text, word) in [
            ("", "empty"),
            ("a: [1", "not valid YAML"),
            ("a: 1\n---\nb: 1\n", "several YAML documents"),
            ("a: *b\n", "not valid YAML"),
            // The parser has a limit of its own for brackets, which it reads ahead.
            (&deep, "recursion limit"),
            (&braces, "recursion limit"),
            (&lists, "nested"),
            (&steps, "nested"),
        ] {
            let error = parse(text.as_bytes()).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
        assert!(parse(b"\xff").unwrap_err().contains("not UTF-8"));
        let twice = parse(b"a: 1\nb: 2\na: 3\n").unwrap();
        assert!(twice.get("a").unwrap_err().contains("twice"));
        assert_eq!(twice.get("b").unwrap().unwrap().size(), Some(2));
    }
}
