//! Printed text: styles and columns.

use std::borrow::Cow;
use std::io::Write as _;

use anstyle::{AnsiColor, Style};
pub(crate) use tf_checkpoint::address::quoted as shell_quoted;
use unicode_width::UnicodeWidthStr as _;

pub(crate) use crate::printable::printable;

pub(crate) const ERROR: Style = AnsiColor::Red.on_default().bold();
pub(crate) const WARNING: Style = AnsiColor::Yellow.on_default().bold();
pub(crate) const HEADING: Style = Style::new().bold();
pub(crate) const FAINT: Style = Style::new().dimmed();

/// Lays rows out in columns two spaces apart, indented by two. The first `left` columns are aligned left,
/// the others right. Wide letters, such as Chinese ones, take two cells of a terminal.
pub(crate) fn columns<const N: usize>(left: usize, rows: &[[String; N]]) -> String {
    let rows: Vec<[Cow<'_, str>; N]> = rows
        .iter()
        .map(|row| row.each_ref().map(|cell| printable(cell)))
        .collect();
    let width = |column: usize| rows.iter().map(|row| row[column].width()).max();
    let widths: [usize; N] = std::array::from_fn(|column| width(column).unwrap_or(0));
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (column, (cell, width)) in std::iter::zip(row, widths).enumerate() {
            let space = " ".repeat(width - cell.width());
            let cells = if column < left {
                [cell.as_ref(), &space]
            } else {
                [&space, cell.as_ref()]
            };
            line.extend(["  "].into_iter().chain(cells));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Prints warnings on standard error.
pub(crate) fn warn(warnings: impl IntoIterator<Item = String>) {
    for warning in warnings {
        let _ = writeln!(anstream::stderr(), "{}", self::warning(&warning));
    }
}

/// Returns the line of a warning.
pub(crate) fn warning(warning: &str) -> String {
    let shown = printable(warning).replace('\n', "\\n");
    format!("{WARNING}warning:{WARNING:#} {shown}")
}

/// The heading of a section of a report.
pub(crate) fn heading(title: &str) -> String {
    format!("\n{HEADING}{title}{HEADING:#}\n")
}

/// A bar of up to ten cells for a share between 0 and 1, in eighths of a cell.
pub(crate) fn bar(share: f32) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of eighty eighths"
    )]
    let eighths = (share.clamp(0.0, 1.0) * 80.0).round() as usize;
    format!("{}{}", "█".repeat(eighths / 8), EIGHTHS[eighths % 8])
}

/// `1 variable`, `2 variables`.
pub(crate) fn count(n: usize, noun: &str) -> String {
    let n_text = indicatif::HumanCount(n as u64);
    format!("{n_text} {noun}{}", if n == 1 { "" } else { "s" })
}

/// Bytes in binary units.
pub(crate) fn bytes(n: u64) -> String {
    indicatif::HumanBytes(n).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_grow_by_eighths() {
        assert_eq!(bar(0.0), "");
        assert_eq!(bar(0.0125), "▏");
        assert_eq!(bar(0.55), "█████▌");
        assert_eq!(bar(1.0), "██████████");
    }

    #[test]
    fn wide_letters_take_two_cells() {
        let row = |a: &str, b: &str| [a.to_owned(), b.to_owned()];
        let rows = [row("漢字", "1"), row("ab", "23"), row("e\u{301}", "한")];
        assert_eq!(
            columns(1, &rows),
            "  漢字   1\n  ab    23\n  e\u{301}     한\n"
        );
    }
}
