//! Renaming of variables (`--rename`), for forks that renamed scopes.

use std::fmt;

use regex::Regex;

/// A pattern and its replacement, applied to the names of variables.
#[derive(Clone, Debug)]
pub struct Rename {
    pattern: Regex,
    replacement: String,
}

impl Rename {
    /// Parses `REGEX=REPLACEMENT`; `$1` in the replacement is the first group.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (pattern, replacement) = text
            .split_once('=')
            .ok_or("expected REGEX=REPLACEMENT, such as '^bert/=electra/'")?;
        let pattern = Regex::new(pattern).map_err(|error| error.to_string())?;
        let groups = pattern.captures_len();
        if pattern.as_str().is_empty() {
            return Err("the regex is empty".into());
        }
        if let Some(group) = unknown_group(&pattern, replacement) {
            return Err(format!(
                "the replacement uses ${group}, but the regex has {} group(s); \
                 write ${{1}}x if text follows a group",
                groups - 1
            ));
        }
        Ok(Self {
            pattern,
            replacement: replacement.to_owned(),
        })
    }

    /// Returns the name with every match replaced.
    pub fn apply(&self, name: &str) -> String {
        self.pattern
            .replace_all(name, self.replacement.as_str())
            .into_owned()
    }
}

/// The form that [`Rename::parse`] reads.
impl fmt::Display for Rename {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.pattern, self.replacement)
    }
}

/// Returns a group that the replacement uses but the regex does not have: the `regex` crate would
/// silently replace it by nothing.
fn unknown_group(pattern: &Regex, replacement: &str) -> Option<String> {
    let mut rest = replacement;
    while let Some((_, after)) = rest.split_once('$') {
        rest = after;
        if let Some(after) = rest.strip_prefix('$') {
            rest = after;
            continue;
        }
        let name: String = match rest.strip_prefix('{') {
            Some(braced) => braced.chars().take_while(|&c| c != '}').collect(),
            None => rest
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
                .collect(),
        };
        let known = match name.parse::<usize>() {
            Ok(number) => number < pattern.captures_len(),
            Err(_) => name.is_empty() || pattern.capture_names().flatten().any(|n| n == name),
        };
        if !known {
            return Some(name);
        }
    }
    None
}
