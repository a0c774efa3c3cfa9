//! The attention heads: the norms of attention units as a heat map, with the borders of heads.

use std::fmt::Write as _;

use super::figures::{count, decimal, integer};
use super::histograms::{MAX_LAYERS, layer_of};
use super::html::{Html, breakable, classed, element, tag};
use super::table::{note, section};
use crate::report::{HeadCountVerdict, SourceReport, Verdict, VerificationReport};
use crate::verify::UnitNorms;

/// The largest number of cells of a row.
const MAX_CELLS: usize = 512;
/// The largest number of cells on a page, in whatever number of layers.
const MAX_ALL_CELLS: usize = 100_000;
/// The largest number of heads that are numbered.
const MAX_NUMBERED: usize = 16;
/// The rows of a layer, from the top: the ends of the names of the matrices.
const ROWS: [(&str, &str); 4] = [
    ("query", ".attention.self.query.weight"),
    ("key", ".attention.self.key.weight"),
    ("value", ".attention.self.value.weight"),
    ("output", ".attention.output.dense.weight"),
];
/// The limits between colours, in robust standard deviations; the first colour is for the smallest norms.
const LIMITS: [f64; 6] = [-1.5, -0.75, -0.25, 0.25, 0.75, 1.5];

/// The section of the heads. `source` is the source of the head count.
pub(super) fn heads(
    id: &str,
    report: &VerificationReport,
    units: &[UnitNorms],
    source: Option<&SourceReport>,
) -> Html {
    let mut content = tag("p", evidence(&report.head_count, source));
    let layers = layers(units);
    if layers.is_empty() {
        content.add(note(
            "There are no attention matrices whose norms could be shown.",
        ));
        return section(&format!("{id}-heads"), "Attention heads", content);
    }
    content.add(tag("p", explanation()));
    let hidden = report.config.hidden_size;
    let heads = report.head_count.configured;
    let map = Map::new(hidden, heads, layers.len());
    let mut figures = map.numbers();
    for (layer, rows) in layers.iter().take(MAX_LAYERS) {
        figures.add(map.layer(*layer, rows, &report.head_count));
    }
    let density = if layers.len() > 12 {
        "maps dense"
    } else {
        "maps"
    };
    content.add(classed("div", density, figures));
    content.add(legend());
    if map.units > 1 {
        let averaged = Html::from("Each cell is the mean of ")
            .and(count(map.units, "unit"))
            .and(".");
        content.add(note(averaged));
    }
    if layers.len() > MAX_LAYERS {
        let rest = layers.len() - MAX_LAYERS;
        content.add(note(format!("{rest} more layers are not shown.")));
    }
    section(&format!("{id}-heads"), "Attention heads", content)
}

/// The head count, where it comes from, and what the weights show of it.
fn evidence(heads: &HeadCountVerdict, source: Option<&SourceReport>) -> Html {
    let mut text = tag("strong", count(heads.configured, "attention head"));
    if let Some(source) = source {
        text.add(", from ");
        text.add(breakable(&source.detail));
        for other in source.agreed.iter().flatten() {
            text.add(", also ");
            text.add(breakable(&other.detail));
        }
    }
    text.add(". ");
    let margin = || Html::from(" with a margin of ").and(decimal(heads.margin, 0));
    match (heads.verdict, heads.count) {
        (Verdict::Confirmed, _) => {
            text.add("The weights show the same count");
            text.add(margin());
            text.add(" over the second best.");
        }
        (Verdict::Contradicted, Some(found)) => {
            text.add("The weights show ");
            text.add(integer(found));
            text.add(" heads instead");
            text.add(margin());
            text.add(" over the second best; wide dashed lines are the borders of these heads.");
        }
        _ => text.add(
            "The weights do not decide: no count explains them clearly better than all others, as in a model that \
             was hardly trained.",
        ),
    }
    text
}

fn explanation() -> Html {
    Html::literal(
        "Heads of a trained model differ in scale, so that colours change at the borders of heads and nowhere else. A \
         cell is the log squared norm of a unit: a row of query, key and value, a column of the output. It is \
         standardised for each matrix, and what all matrices share is subtracted, as where the head count is judged. \
         Each layer has four rows: query, key, value, output. Lines are the borders of the heads in config.json.",
    )
}

fn legend() -> Html {
    let mut swatches = Html::default();
    for class in 0..=LIMITS.len() {
        swatches.add(classed("i", &format!("swatch c{class}"), ""));
    }
    let label = |text: &str| tag("span", text);
    let content = label("smaller norm")
        .and(swatches)
        .and(label("larger norm"));
    classed("p", "legend", content)
}

/// The vectors of each layer, by its number. A matrix that is missing has none.
type Layers<'a> = Vec<(usize, [Option<&'a [f64]>; ROWS.len()])>;

fn layers(units: &[UnitNorms]) -> Layers<'_> {
    let mut layers = std::collections::BTreeMap::new();
    for unit in units {
        let row = ROWS.iter().position(|(_, end)| unit.name.ends_with(end));
        if let (Some(layer), Some(row)) = (layer_of(&unit.name), row) {
            let rows = layers.entry(layer).or_insert([None; ROWS.len()]);
            rows[row] = unit.norms.as_deref();
        }
    }
    layers.into_iter().collect()
}

/// How units become cells.
struct Map {
    hidden: usize,
    heads: usize,
    /// Units of a cell.
    units: usize,
}

impl Map {
    /// No cell is on both sides of a border if the heads divide the hidden size.
    fn new(hidden: usize, heads: usize, layers: usize) -> Self {
        let most = MAX_ALL_CELLS / ROWS.len() / layers.clamp(1, MAX_LAYERS);
        let most = most.min(MAX_CELLS);
        let size = match hidden.checked_div(heads) {
            Some(size) if hidden.is_multiple_of(heads) => size,
            _ => hidden,
        };
        let fits = |units: &usize| size.is_multiple_of(*units) && hidden / units <= most;
        let units = (1..=size).find(fits).unwrap_or(size.max(1));
        Self {
            hidden,
            heads,
            units,
        }
    }

    fn has_borders(&self) -> bool {
        self.heads > 0 && self.hidden.is_multiple_of(self.heads)
    }

    /// The numbers of the heads above the maps.
    fn numbers(&self) -> Html {
        if !self.has_borders() || self.heads > MAX_NUMBERED {
            return Html::default();
        }
        let numbers = (0..self.heads).map(|head| tag("span", format!("{head}")));
        let numbers: Html = numbers.collect();
        let attributes = [("class", "numbers"), ("aria-hidden", "true")];
        let label = classed("span", "label", "head");
        classed(
            "div",
            "map",
            label.and(element("div", &attributes, numbers)),
        )
    }

    fn layer(&self, layer: usize, rows: &[Option<&[f64]>], found: &HeadCountVerdict) -> Html {
        let cells = self.hidden.div_ceil(self.units);
        let mut paths = vec![Strokes::default(); LIMITS.len() + 1];
        for (y, row) in rows.iter().enumerate() {
            let Some(row) = row else { continue };
            for (start, len, class) in runs(row, self.units) {
                paths[class].add(start, y, len);
            }
        }
        let verdict = match (found.verdict, found.count) {
            (Verdict::Confirmed | Verdict::Contradicted, Some(count)) => {
                format!("show {count} heads")
            }
            _ => "do not decide the number of heads".to_owned(),
        };
        let title =
            format!("Norms of the attention units of layer {layer}; all layers together {verdict}");
        let mut content = tag("title", title);
        for (class, Strokes { path, .. }) in paths
            .iter()
            .enumerate()
            .filter(|(_, strokes)| !strokes.path.is_empty())
        {
            let class = format!("c{class}");
            content.add(element("path", &[("class", &class), ("d", path)], ""));
        }
        if self.has_borders() {
            content.add(borders("border", self.heads, cells));
        }
        if let (Verdict::Contradicted, Some(other)) = (found.verdict, found.count) {
            content.add(borders("border other", other, cells));
        }
        let view = format!("0 0 {cells} {}", rows.len());
        let attributes = [
            ("viewBox", view.as_str()),
            ("preserveAspectRatio", "none"),
            ("role", "img"),
        ];
        let label = classed("span", "label", format!("layer {layer}"));
        classed(
            "div",
            "map",
            label.and(element("svg", &attributes, content)),
        )
    }
}

/// The path of horizontal strokes, each from where the last one ended: half as long as from the corner.
#[derive(Clone, Default)]
struct Strokes {
    path: String,
    /// The end of the last stroke.
    end: (usize, usize),
}

impl Strokes {
    /// Adds a stroke; they are in the order of rows, and in a row from the left.
    fn add(&mut self, start: usize, row: usize, len: usize) {
        let (x, y) = self.end;
        if self.path.is_empty() {
            let _ = write!(self.path, "M{start} {row}.5h{len}");
        } else if row == y {
            let _ = write!(self.path, "m{} 0h{len}", start - x);
        } else {
            let back = i64::try_from(start).unwrap_or(0) - i64::try_from(x).unwrap_or(0);
            let _ = write!(self.path, "m{back} {}h{len}", row - y);
        }
        self.end = (start + len, row);
    }
}

/// The lines between heads.
fn borders(class: &str, heads: usize, cells: usize) -> Html {
    let mut path = String::new();
    for head in 1..heads.min(MAX_CELLS) {
        #[allow(clippy::cast_precision_loss, reason = "a drawing")]
        let x = cells as f64 * head as f64 / heads as f64;
        let _ = write!(path, "M{} 0v{}", (x * 100.0).round() / 100.0, ROWS.len());
    }
    element("path", &[("class", class), ("d", &path)], "")
}

/// Returns runs of cells of the same colour: start, length, colour.
fn runs(row: &[f64], units: usize) -> Vec<(usize, usize, usize)> {
    let mut runs: Vec<(usize, usize, usize)> = Vec::new();
    for (at, cell) in row.chunks(units).enumerate() {
        #[allow(clippy::cast_precision_loss, reason = "a small count")]
        let mean = cell.iter().sum::<f64>() / cell.len() as f64;
        let class = LIMITS.iter().filter(|&&limit| mean > limit).count();
        match runs.last_mut() {
            Some((_, len, last)) if *last == class => *len += 1,
            _ => runs.push((at, 1, class)),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_on_both_sides_of_a_border() {
        for (hidden, heads, layers) in [(768, 12, 12), (4096, 64, 48), (1024, 16, 24), (96, 8, 2)] {
            let map = Map::new(hidden, heads, layers);
            let size = hidden / heads;
            assert!(size.is_multiple_of(map.units), "{hidden}");
            assert!(hidden / map.units * ROWS.len() * layers <= MAX_ALL_CELLS);
            assert!(hidden / map.units <= MAX_CELLS);
        }
        assert_eq!(Map::new(128, 4, 3).units, 1);
        assert_eq!(Map::new(0, 0, 0).units, 1);
        assert!(!Map::new(10, 3, 1).has_borders());
    }

    #[test]
    fn strokes_begin_where_the_last_one_ended() {
        let mut strokes = Strokes::default();
        for (start, row, len) in [(3, 0, 2), (9, 0, 1), (1, 2, 4), (7, 3, 1)] {
            strokes.add(start, row, len);
        }
        assert_eq!(strokes.path, "M3 0.5h2m4 0h1m-9 2h4m2 1h1");
    }

    #[test]
    fn equal_cells_are_one_run() {
        let row = [-3.0, -3.0, 0.0, 0.1, 2.0, 2.0, 2.0, 9.0];
        assert_eq!(runs(&row, 1), [(0, 2, 0), (2, 2, 3), (4, 4, 6)]);
        assert_eq!(runs(&row, 4), [(0, 1, 1), (1, 1, 6)]);
    }
}
