//! The model as a drawing: its layers from the tokens to the output, each as wide as its vectors.

use std::fmt::Write as _;

use candle_electra::{ElectraConfig, ModelClass, Part, TENSORS};

use super::figures::{count, integer};
use super::html::{Html, classed, element, joined, tag};

/// The width of a drawing, in its own units.
const WIDTH: f64 = 100.0;
/// Its height, which is stretched to that of the text beside it.
const HEIGHT: f64 = 40.0;
/// The largest number of heads whose borders are drawn.
const MAX_BORDERS: usize = 128;

/// A tensor of the model: its name and its shape.
pub(super) type Tensor<'a> = (&'a str, &'a [usize]);

/// A block of the drawing.
struct Block {
    name: String,
    sizes: Html,
    parameters: usize,
    /// The widths of the block, from top to bottom.
    widths: Vec<usize>,
    /// The number of parts that borders divide the block into.
    divided: usize,
    is_in_layer: bool,
}

/// Draws a model.
pub(super) fn drawing(config: &ElectraConfig, tensors: &[Tensor<'_>]) -> Html {
    let [embedding, hidden, inner] = [
        config.embedding_size,
        config.hidden_size,
        config.intermediate_size,
    ];
    let widest = embedding.max(hidden).max(inner).max(1);
    let heads = config.num_attention_heads;
    let block = |name: &str, kind: Kind, sizes: Html, widths: &[usize]| Block {
        name: name.to_owned(),
        sizes,
        parameters: parameters(tensors, kind),
        widths: widths.to_vec(),
        divided: 1,
        is_in_layer: matches!(kind, Kind::Attention | Kind::FeedForward),
    };
    let sized = |name: &str, size: usize| integer(size).and(format!(" {name}"));
    let mut embedded = joined(
        [
            sized("tokens", config.vocab_size),
            sized("positions", config.max_position_embeddings),
            sized("token types", config.type_vocab_size),
        ],
        ", ",
    );
    embedded.add(" × ");
    embedded.add(integer(embedding));
    let mut blocks = vec![block(
        "Embeddings",
        Kind::Embeddings,
        embedded,
        &[embedding],
    )];
    let arrow = |from: usize, to: usize| integer(from).and(" → ").and(integer(to));
    if embedding != hidden {
        let widths = [embedding, hidden];
        blocks.push(block(
            "Projection",
            Kind::Projection,
            arrow(embedding, hidden),
            &widths,
        ));
    }
    let mut attention = count(heads, "head");
    if heads > 0 && hidden.is_multiple_of(heads) {
        attention.add(" × ");
        attention.add(integer(hidden / heads));
        attention.add(" = ");
        attention.add(integer(hidden));
    }
    blocks.push(Block {
        divided: heads,
        ..block("Self-attention", Kind::Attention, attention, &[hidden])
    });
    let forward = arrow(hidden, inner).and(" → ").and(integer(hidden));
    let forward = forward.and(format!(", {}", config.hidden_act.key()));
    blocks.push(block(
        "Feed-forward",
        Kind::FeedForward,
        forward,
        &[hidden, inner, hidden],
    ));
    blocks.extend(head(config, tensors));
    let layers = config.num_hidden_layers;
    let drawn = |blocks: &[Block]| {
        let blocks = blocks.iter();
        blocks.map(|block| drawn(block, layers, widest)).collect()
    };
    let [before, layer, after] = [
        blocks.iter().position(|block| block.is_in_layer),
        blocks.iter().rposition(|block| block.is_in_layer),
        Some(blocks.len()),
    ]
    .map(|at| at.expect("every model has layers"));
    let of_layer: Html = drawn(&blocks[before..=layer]);
    let caption = count(layers, "layer").and(", each with");
    let layers = tag("p", caption).and(tag("ol", of_layer));
    let first: Html = drawn(&blocks[..before]);
    let last: Html = drawn(&blocks[layer + 1..after]);
    let content = first.and(classed("li", "layers", layers)).and(last);
    classed("ol", "drawing", content)
}

/// What a tensor belongs to.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Embeddings,
    Projection,
    Attention,
    FeedForward,
    Head,
}

impl Kind {
    fn of(name: &str) -> Self {
        let starts = |prefix: &str| name.starts_with(prefix);
        if starts("electra.embeddings.") {
            Self::Embeddings
        } else if starts("electra.embeddings_project.") {
            Self::Projection
        } else if starts("electra.encoder.") && name.contains(".attention.") {
            Self::Attention
        } else if starts("electra.encoder.") {
            Self::FeedForward
        } else {
            Self::Head
        }
    }
}

/// The head of the class; `None` if it has none.
fn head(config: &ElectraConfig, tensors: &[Tensor<'_>]) -> Option<Block> {
    let class = ModelClass::from_name(config.architectures.first()?)?;
    let part = class.head()?;
    let specs = TENSORS.iter().filter(|spec| spec.part == part);
    let mut matrices: Vec<Vec<usize>> = specs
        .map(|spec| spec.shape_in(config))
        .filter(|shape| shape.len() == 2)
        .collect();
    if class.has_decoder() {
        matrices.push(vec![config.vocab_size, config.embedding_size]);
    }
    // A matrix `[out, in]` turns vectors of its second size into those of its first.
    let widths: Vec<usize> = matrices
        .iter()
        .take(1)
        .map(|matrix| matrix[1])
        .chain(matrices.iter().map(|matrix| matrix[0]))
        .collect();
    let mut sizes = joined(widths.iter().map(|&width| integer(width)), " → ");
    if class.has_decoder() {
        sizes.add(", the last matrix is that of the word embeddings");
    }
    let name = match part {
        Part::DiscriminatorHead => "Head of the discriminator",
        Part::GeneratorHead => "Head of the generator",
        _ => "Head of the task",
    };
    Some(Block {
        name: name.to_owned(),
        sizes,
        parameters: parameters(tensors, Kind::Head),
        widths,
        divided: 1,
        is_in_layer: false,
    })
}

/// Returns the number of parameters of a kind, in all layers.
fn parameters(tensors: &[Tensor<'_>], kind: Kind) -> usize {
    let of_kind = tensors.iter().filter(|(name, _)| Kind::of(name) == kind);
    let elements = |shape: &[usize]| {
        shape
            .iter()
            .fold(1, |n: usize, &size| n.saturating_mul(size))
    };
    of_kind.fold(0, |n: usize, (_, shape)| n.saturating_add(elements(shape)))
}

fn drawn(block: &Block, layers: usize, widest: usize) -> Html {
    let name = tag("strong", block.name.as_str());
    let mut parameters = count(block.parameters, "parameter");
    if block.is_in_layer {
        parameters.add(" in ");
        parameters.add(count(layers, "layer"));
    }
    let parameters = classed("span", "muted", parameters);
    let text = classed(
        "div",
        "sizes",
        name.and(tag("span", block.sizes.clone())).and(parameters),
    );
    tag("li", outline(block, widest).and(text))
}

/// The outline of a block, which the text beside it describes.
#[allow(clippy::cast_precision_loss, reason = "a drawing")]
fn outline(block: &Block, widest: usize) -> Html {
    let half = |width: usize| (width as f64 / widest as f64 * WIDTH / 2.0).clamp(0.4, WIDTH / 2.0);
    let mut widths = block.widths.clone();
    if let [only] = widths[..] {
        widths.push(only);
    }
    let height = |at: usize| HEIGHT * at as f64 / (widths.len() - 1) as f64;
    let corners = widths.iter().enumerate();
    let right = corners.map(|(at, &width)| (WIDTH / 2.0 + half(width), height(at)));
    let left = widths.iter().enumerate().rev();
    let left = left.map(|(at, &width)| (WIDTH / 2.0 - half(width), height(at)));
    let points: Vec<String> = right
        .chain(left)
        .map(|(x, y)| format!("{x:.2},{y:.1}"))
        .collect();
    let mut shapes = element("polygon", &[("points", points.join(" ").as_str())], "");
    if (2..=MAX_BORDERS).contains(&block.divided) {
        let half = half(block.widths[0]);
        let mut borders = String::new();
        for n in 1..block.divided {
            let x = WIDTH / 2.0 - half + 2.0 * half * n as f64 / block.divided as f64;
            let _ = write!(borders, "M{x:.2} 0V{HEIGHT}");
        }
        shapes.add(element("path", &[("d", borders.as_str())], ""));
    }
    let attributes = [
        ("class", "outline"),
        ("viewBox", "0 0 100 40"),
        ("preserveAspectRatio", "none"),
        ("aria-hidden", "true"),
    ];
    element("svg", &attributes, shapes)
}
