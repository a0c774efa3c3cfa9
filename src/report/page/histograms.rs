//! Histograms of the weights: one for each tensor, in groups whose axes can be compared.

use std::fmt::Write as _;

use candle_electra::{Part, TENSORS, TensorSpec};

use super::figures::grouped;
use super::html::{Html, breakable, classed, element, tag};
use super::table::{details, note, section};
use crate::verify::{BINS, DEVIATIONS, TensorStatistics};

/// The largest number of layers that are shown.
pub(super) const MAX_LAYERS: usize = 64;
/// With this many layers there is room for two groups beside each other.
const FEW_LAYERS: usize = 3;
/// The size of a histogram, in its own units.
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 99.0;
/// What precedes the number of a layer in the names of tensors.
const LAYER: &str = "electra.encoder.layer.";

/// The section of the histograms.
pub(super) fn histograms(id: &str, tensors: &[TensorStatistics]) -> Html {
    let explained = format!(
        "Each histogram has {BINS} bins between the mean minus and plus {DEVIATIONS} standard deviations of the tensor; \
         its highest bin fills the height. Those of one kind in all layers have the same axis. A line is at zero. σ is the standard \
         deviation."
    );
    let mut content = note(explained);
    let of_layers = TENSORS.iter().filter(|spec| spec.part == Part::Layer);
    let (matrices, vectors): (Vec<_>, Vec<_>) = of_layers.partition(|spec| spec.shape.len() == 2);
    content.add(groups(&matrices, tensors));
    let rest: Vec<&TensorStatistics> = tensors
        .iter()
        .filter(|tensor| layer_of(&tensor.name).is_none())
        .collect();
    let (others, other_vectors): (Vec<_>, Vec<_>) =
        rest.into_iter().partition(|tensor| tensor.shape.len() == 2);
    content.add(apart("Embeddings and head", &others));
    let mut small = groups(&vectors, tensors);
    small.add(apart("Vectors of embeddings and head", &other_vectors));
    if !small.is_empty() {
        content.add(details("Biases and LayerNorm", small));
    }
    section(&format!("{id}-weights"), "Weights", content)
}

/// Returns the number of the layer in the name of a tensor; `None` if it is in no layer.
pub(super) fn layer_of(name: &str) -> Option<usize> {
    let (number, _) = name.strip_prefix(LAYER)?.split_once('.')?;
    number.parse().ok()
}

/// The histograms of some kinds of tensors. Groups of few layers are beside each other.
fn groups(specs: &[&TensorSpec], tensors: &[TensorStatistics]) -> Html {
    let layers = tensors.iter().filter_map(|tensor| layer_of(&tensor.name));
    let has_few = layers.max().is_none_or(|last| last < FEW_LAYERS);
    let groups: Html = specs.iter().map(|spec| of_layer(spec, tensors)).collect();
    if groups.is_empty() {
        return groups;
    }
    classed(
        "div",
        if has_few { "groups beside" } else { "groups" },
        groups,
    )
}

/// The histograms of one kind of tensor, layer by layer.
fn of_layer(spec: &TensorSpec, tensors: &[TensorStatistics]) -> Html {
    let mut of_kind: Vec<(usize, &TensorStatistics)> = tensors
        .iter()
        .filter_map(|tensor| {
            let layer = layer_of(&tensor.name)?;
            (spec.name_in(layer) == tensor.name).then_some((layer, tensor))
        })
        .collect();
    of_kind.sort_by_key(|(layer, _)| *layer);
    let axis = Axis::of(of_kind.iter().map(|(_, tensor)| *tensor));
    let shown = of_kind.iter().take(MAX_LAYERS);
    let figures = shown.map(|(layer, tensor)| histogram(&format!("layer {layer}"), tensor, &axis));
    let name = spec.name.trim_start_matches(LAYER);
    let name = name.trim_start_matches("{N}.");
    group(name, figures.collect(), &axis)
}

/// The histograms of tensors that have nothing in common.
fn apart(title: &str, tensors: &[&TensorStatistics]) -> Html {
    let figures = tensors.iter().take(MAX_LAYERS).map(|&tensor| {
        let name = tensor.name.trim_start_matches("electra.");
        histogram(name, tensor, &Axis::of([tensor]))
    });
    let figures: Html = figures.collect();
    if figures.is_empty() {
        return figures;
    }
    let heading = tag("h4", title);
    heading.and(classed("div", "histograms", figures))
}

fn group(name: &str, figures: Html, axis: &Axis) -> Html {
    if figures.is_empty() {
        return figures;
    }
    let range = format!("{} to {}", rounded(axis.start), rounded(axis.end));
    let heading = tag("h4", Html::from(name).and(classed("span", "range", range)));
    tag("div", heading.and(classed("div", "histograms", figures)))
}

/// The range that histograms share.
struct Axis {
    start: f64,
    end: f64,
}

impl Axis {
    fn of<'a>(tensors: impl IntoIterator<Item = &'a TensorStatistics>) -> Self {
        let ranges = tensors.into_iter().map(|tensor| {
            let half = DEVIATIONS * tensor.deviation;
            (tensor.mean - half, tensor.mean + half)
        });
        let both = ranges.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
        let (start, end) = both.unwrap_or((0.0, 0.0));
        if end > start {
            return Self { start, end };
        }
        // All values are the same.
        let around = start.abs().max(f64::from(f32::MIN_POSITIVE));
        Self {
            start: start - around,
            end: start + around,
        }
    }

    fn place(&self, x: f64) -> f64 {
        ((x - self.start) / (self.end - self.start) * WIDTH).clamp(0.0, WIDTH)
    }
}

fn histogram(label: &str, tensor: &TensorStatistics, axis: &Axis) -> Html {
    let title = Html::from(description(tensor));
    let mut content = tag("title", title);
    content.add(element(
        "path",
        &[("class", "area"), ("d", &area(tensor, axis))],
        "",
    ));
    if axis.start < 0.0 && axis.end > 0.0 {
        let zero = format!("M{:.0} 0V{HEIGHT}", axis.place(0.0));
        content.add(element("path", &[("class", "zero"), ("d", &zero)], ""));
    }
    let attributes = [
        ("viewBox", "0 0 640 99"),
        ("preserveAspectRatio", "none"),
        ("role", "img"),
    ];
    let svg = element("svg", &attributes, content);
    let mut caption = tag("span", breakable(label));
    caption.add(if tensor.not_finite > 0 {
        let lost = format!("{} not finite", grouped(&tensor.not_finite.to_string()));
        classed("span", "bad", lost)
    } else {
        classed("span", "muted", format!("σ {}", rounded(tensor.deviation)))
    });
    tag("figure", svg.and(tag("figcaption", caption)))
}

/// The statistics in words.
fn description(tensor: &TensorStatistics) -> String {
    let mut text = format!(
        "{}: {} values, mean {}, standard deviation {}, from {} to {}, {:.2} % outside",
        tensor.name,
        grouped(&tensor.finite.to_string()),
        rounded(tensor.mean),
        rounded(tensor.deviation),
        rounded(tensor.smallest),
        rounded(tensor.largest),
        share(tensor) * 100.0,
    );
    if tensor.not_finite > 0 {
        let lost = grouped(&tensor.not_finite.to_string());
        let _ = write!(text, ", {lost} values NaN or infinite");
    }
    text
}

/// The share of values outside the histogram.
fn share(tensor: &TensorStatistics) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "a share")]
    let all = tensor.finite.max(1) as f64;
    tensor.outside / all
}

/// The outline of the bins.
fn area(tensor: &TensorStatistics, axis: &Axis) -> String {
    let half = DEVIATIONS * tensor.deviation;
    let highest = tensor.histogram.iter().copied().fold(0.0, f64::max);
    let bins = u32::try_from(tensor.histogram.len()).unwrap_or(1);
    let place = |at: u32| {
        let x = tensor.mean - half + 2.0 * half * f64::from(at) / f64::from(bins);
        axis.place(x)
    };
    if half <= 0.0 {
        let x = axis.place(tensor.mean);
        return format!("M{:.0} {HEIGHT}V0h4V{HEIGHT}z", x - 2.0);
    }
    let mut path = format!("M{:.0} {HEIGHT}", place(0));
    let mut last = None;
    for (at, bin) in (1..).zip(&tensor.histogram) {
        let y = format!(
            "{:.0}",
            HEIGHT - HEIGHT * bin / highest.max(f64::MIN_POSITIVE)
        );
        if last.as_ref() != Some(&y) {
            let _ = write!(path, "V{y}");
            last = Some(y);
        }
        let _ = write!(path, "H{:.0}", place(at));
    }
    let _ = write!(path, "V{HEIGHT}z");
    path
}

/// Two digits that mean something.
fn rounded(x: f64) -> String {
    let size = x.abs();
    if size == 0.0 {
        "0".to_owned()
    } else if (0.001..1000.0).contains(&size) {
        #[allow(clippy::cast_possible_truncation, reason = "a small exponent")]
        let exponent = size.log10().floor() as i32;
        let decimals = usize::try_from(1 - exponent).unwrap_or(0);
        format!("{x:.decimals$}").replace('-', "−")
    } else {
        format!("{x:.1e}").replace('-', "−")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_digits_are_shown() {
        for (x, shown) in [
            (0.0, "0"),
            (0.020_34, "0.020"),
            (-0.4321, "−0.43"),
            (1.25, "1.2"),
            (123.4, "123"),
            (1e-7, "1.0e−7"),
        ] {
            assert_eq!(rounded(x), shown);
        }
    }

    #[test]
    fn layers_are_numbered() {
        let name = "electra.encoder.layer.11.output.dense.bias";
        assert_eq!(layer_of(name), Some(11));
        assert_eq!(layer_of("electra.encoder.layer.x.output"), None);
        assert_eq!(layer_of("electra.embeddings.LayerNorm.bias"), None);
    }
}
