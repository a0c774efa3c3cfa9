//! HTML that code writes. Text becomes [`Html`] only by being escaped; literals of this program are taken as they are.

use std::fmt::Write as _;

use crate::printable::printable;

/// The longest text, in characters. Names in a hostile file may be of any length; the page is bounded.
const MAX_CHARS: usize = 400;

/// A part of a page.
#[derive(Clone, Debug, Default)]
pub(super) struct Html(String);

impl Html {
    /// Takes HTML as it is.
    pub(super) fn literal(html: &'static str) -> Self {
        Self(html.to_owned())
    }

    /// Adds more at the end.
    pub(super) fn add(&mut self, more: impl Into<Self>) {
        self.0.push_str(&more.into().0);
    }

    /// Returns this part with more at the end.
    pub(super) fn and(mut self, more: impl Into<Self>) -> Self {
        self.add(more);
        self
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn into_string(self) -> String {
        self.0
    }
}

/// Escapes a text, and cuts it if it is too long.
impl From<&str> for Html {
    fn from(text: &str) -> Self {
        let Some((end, _)) = text.char_indices().nth(MAX_CHARS) else {
            return Self(escaped(text));
        };
        Self(format!("{}…", escaped(&text[..end])))
    }
}

impl From<&String> for Html {
    fn from(text: &String) -> Self {
        text.as_str().into()
    }
}

impl From<String> for Html {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

impl FromIterator<Html> for Html {
    fn from_iter<I: IntoIterator<Item = Html>>(parts: I) -> Self {
        Self(parts.into_iter().map(|part| part.0).collect())
    }
}

/// Writes an element with attributes, whose values are escaped.
pub(super) fn element(
    name: &'static str,
    attributes: &[(&'static str, &str)],
    content: impl Into<Html>,
) -> Html {
    let mut html = format!("<{name}");
    for (attribute, value) in attributes {
        let _ = write!(html, " {attribute}=\"{}\"", escaped(value));
    }
    let _ = write!(html, ">{}</{name}>", content.into().0);
    Html(html)
}

/// Writes an element without attributes.
pub(super) fn tag(name: &'static str, content: impl Into<Html>) -> Html {
    element(name, &[], content)
}

/// Writes an element of a class.
pub(super) fn classed(name: &'static str, class: &str, content: impl Into<Html>) -> Html {
    element(name, &[("class", class)], content)
}

/// Writes a name as code.
pub(super) fn code(name: &str) -> Html {
    tag("code", breakable(name))
}

/// Writes a name that may be broken between its parts.
pub(super) fn breakable(name: &str) -> Html {
    const PARTS: [char; 3] = ['.', '_', '/'];
    let end = name.char_indices().nth(MAX_CHARS).map(|(end, _)| end);
    let parts = name[..end.unwrap_or(name.len())].split_inclusive(PARTS);
    let mut html = joined(parts.map(Html::from), "<wbr>");
    if end.is_some() {
        html.add("…");
    }
    html
}

/// Puts separators between parts.
pub(super) fn joined(parts: impl IntoIterator<Item = Html>, separator: &'static str) -> Html {
    let mut html = Html::default();
    for part in parts {
        if !html.is_empty() {
            html.add(Html::literal(separator));
        }
        html.add(part);
    }
    html
}

/// Escapes what has a meaning in HTML, and what steers a terminal or a reader.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in printable(text).chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            '\n' => safe.push_str("\\n"),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_leave_its_place() {
        let hostile = "</style><script>'\"&\u{0}\u{202e}\n";
        let html = element("p", &[("title", hostile)], hostile).into_string();
        let safe = "&lt;/style&gt;&lt;script&gt;&#39;&quot;&amp;\\u{0}\\u{202e}\\n";
        assert_eq!(html, format!("<p title=\"{safe}\">{safe}</p>"));
    }

    #[test]
    fn names_are_broken_between_their_parts() {
        let name = breakable("a.b_c/<d>").into_string();
        assert_eq!(name, "a.<wbr>b_<wbr>c/<wbr>&lt;d&gt;");
    }

    #[test]
    fn long_text_is_cut() {
        let text = Html::from("ä".repeat(MAX_CHARS)).into_string();
        assert_eq!(text.chars().count(), MAX_CHARS);
        let text = Html::from("ä".repeat(MAX_CHARS + 1)).into_string();
        assert!(text.ends_with("ä…") && text.chars().count() == MAX_CHARS + 1);
        let text = breakable(&"ä".repeat(MAX_CHARS + 1)).into_string();
        assert!(text.ends_with("ä…") && text.chars().count() == MAX_CHARS + 1);
    }
}
