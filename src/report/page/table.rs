//! Tables and lists of bounded length.

use super::html::{Html, classed, element, tag};

/// The largest number of rows of a table and of entries of a list: the page is bounded.
pub(super) const MAX_ROWS: usize = 1000;

/// Writes a table. The first cell of each row is its header. A wide table scrolls in its own box.
pub(super) fn table<const N: usize>(
    label: &str,
    headers: [&str; N],
    rows: impl IntoIterator<Item = [Html; N]>,
) -> Html {
    scrolling(label, tag("table", head_and_body(headers, rows)))
}

/// As [`table`], for a last column of sentences, which a narrow window shows below the other cells.
pub(super) fn prose_table<const N: usize>(
    label: &str,
    headers: [&str; N],
    rows: impl IntoIterator<Item = [Html; N]>,
) -> Html {
    scrolling(
        label,
        classed("table", "prose", head_and_body(headers, rows)),
    )
}

fn scrolling(label: &str, table: Html) -> Html {
    let attributes = [
        ("class", "scroll"),
        ("role", "region"),
        ("tabindex", "0"),
        ("aria-label", label),
    ];
    element("div", &attributes, table)
}

fn head_and_body<const N: usize>(
    headers: [&str; N],
    rows: impl IntoIterator<Item = [Html; N]>,
) -> Html {
    let headers = headers.iter();
    let headers: Html = headers
        .map(|&header| element("th", &[("scope", "col")], header))
        .collect();
    let mut body = Html::default();
    let mut rows = rows.into_iter();
    for row in rows.by_ref().take(MAX_ROWS) {
        let cells = row.into_iter().enumerate().map(|(at, cell)| match at {
            0 => element("th", &[("scope", "row")], cell),
            _ => tag("td", cell),
        });
        body.add(tag("tr", cells.collect::<Html>()));
    }
    let rest = rows.count();
    if rest > 0 {
        let columns = N.to_string();
        let more = element("td", &[("colspan", columns.as_str())], more(rest));
        body.add(tag("tr", more));
    }
    let head = tag("thead", tag("tr", headers));
    head.and(tag("tbody", body))
}

/// Writes a list of entries.
pub(super) fn list<T: Into<Html>>(entries: impl IntoIterator<Item = T>) -> Html {
    let mut entries = entries.into_iter();
    let mut html: Html = entries
        .by_ref()
        .take(MAX_ROWS)
        .map(|entry| tag("li", entry))
        .collect();
    let rest = entries.count();
    if rest > 0 {
        html.add(tag("li", more(rest)));
    }
    tag("ul", html)
}

/// Writes a part that is closed at first.
pub(super) fn details(summary: impl Into<Html>, content: impl Into<Html>) -> Html {
    tag("details", tag("summary", summary).and(content))
}

/// Writes a section with its heading.
pub(super) fn section(id: &str, title: &str, content: impl Into<Html>) -> Html {
    let attributes = [("id", id), ("aria-labelledby", &format!("{id}-title"))];
    let heading = element("h3", &[("id", attributes[1].1)], title);
    element("section", &attributes, heading.and(content))
}

/// Writes a remark.
pub(super) fn note(content: impl Into<Html>) -> Html {
    classed("p", "note", content)
}

fn more(rest: usize) -> Html {
    format!("and {rest} more, which --json lists").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_and_lists_are_bounded() {
        let rows = (0..MAX_ROWS + 7).map(|n| [n.to_string().into(), Html::from("x")]);
        let html = table("numbers", ["n", "x"], rows).into_string();
        assert_eq!(html.matches("<tr>").count(), MAX_ROWS + 2);
        assert!(html.contains("and 7 more"));
        let html = list((0..MAX_ROWS + 7).map(|n| n.to_string())).into_string();
        assert_eq!(html.matches("<li>").count(), MAX_ROWS + 1);
        assert!(html.contains("and 7 more"));
    }
}
