//! Writes training graphs: nodes by hand, and an encoder around them in which every part can be
//! spelled in another way. Node names are numbers, so that nothing can be recognised by them.

use crate::bundle_writer::{Field, Sizes, message};

/// A `MetaGraphDef` under construction.
#[derive(Clone, Default)]
pub struct Graph {
    nodes: Vec<u8>,
    functions: Vec<u8>,
    count: usize,
    /// What the graph's names of variables start with, which their keys do not have.
    prefix: &'static str,
    /// Keys of variables, and the nodes that read them.
    saved: Vec<[String; 2]>,
}

/// The value of an attribute.
#[derive(Clone)]
pub enum Attr {
    /// `true`.
    True,
    /// An integer.
    Int(i64),
    /// A float.
    Float(f32),
    /// A tensor of strings.
    Strings(Vec<String>),
    /// A string.
    Text(&'static str),
    /// A list of integers.
    List(Vec<i64>),
    /// A dtype, by its number in `types.proto`.
    Type(i32),
    /// The name of a function.
    Function(&'static str),
    /// A float32 tensor; a scalar if it has one element.
    Floats(Vec<f32>),
    /// An int32 tensor; a scalar if it has one element.
    Ints(Vec<i32>),
    /// A list of shapes.
    Shapes(Vec<Vec<i64>>),
}

fn bytes(number: u32, bytes: impl Into<Vec<u8>>) -> (u32, Field) {
    (number, Field::Bytes(bytes.into()))
}

fn shape(axes: &[i64]) -> Vec<u8> {
    let dims = axes.iter().map(|&axis| {
        let size = Field::Varint(axis.cast_unsigned());
        bytes(2, message(&[(1, size)]))
    });
    message(&dims.collect::<Vec<_>>())
}

impl Attr {
    fn encode(&self) -> Vec<u8> {
        let tensor = |dtype: u64, len: usize, content: Vec<u8>| {
            let axes = if len == 1 {
                vec![]
            } else {
                vec![len.try_into().unwrap()]
            };
            let fields = [
                (1, Field::Varint(dtype)),
                bytes(2, shape(&axes)),
                bytes(4, content),
            ];
            message(&[bytes(8, message(&fields))])
        };
        match self {
            Self::True => message(&[(5, Field::Varint(1))]),
            Self::Int(value) => message(&[(3, Field::Varint(value.cast_unsigned()))]),
            Self::Float(value) => message(&[(4, Field::Fixed32(value.to_bits()))]),
            Self::Strings(texts) => {
                let mut fields = vec![(1, Field::Varint(7))];
                fields.extend(texts.iter().map(|text| bytes(8, text.as_str())));
                message(&[bytes(8, message(&fields))])
            }
            Self::Text(text) => message(&[bytes(2, *text)]),
            Self::List(values) => {
                let values = values
                    .iter()
                    .map(|value| Field::Varint(value.cast_unsigned()));
                message(&[bytes(
                    1,
                    message(&values.map(|value| (3, value)).collect::<Vec<_>>()),
                )])
            }
            Self::Type(number) => {
                message(&[(6, Field::Varint(i64::from(*number).cast_unsigned()))])
            }
            Self::Function(name) => message(&[bytes(10, message(&[bytes(1, *name)]))]),
            Self::Floats(values) => {
                let content = values.iter().flat_map(|x| x.to_le_bytes()).collect();
                tensor(1, values.len(), content)
            }
            Self::Ints(values) => {
                let content = values.iter().flat_map(|x| x.to_le_bytes()).collect();
                tensor(3, values.len(), content)
            }
            Self::Shapes(shapes) => {
                let shapes: Vec<_> = shapes.iter().map(|axes| bytes(7, shape(axes))).collect();
                message(&[bytes(1, message(&shapes))])
            }
        }
    }
}

/// The bytes of a `NodeDef`.
fn node(name: &str, op: &str, inputs: &[&str], attrs: &[(&str, Attr)]) -> Vec<u8> {
    let mut fields = vec![bytes(1, name), bytes(2, op)];
    fields.extend(inputs.iter().map(|input| bytes(3, *input)));
    fields.extend(
        attrs
            .iter()
            .map(|(key, value)| bytes(5, message(&[bytes(1, *key), bytes(2, value.encode())]))),
    );
    message(&fields)
}

impl Graph {
    /// A graph in which the names of variables have a prefix.
    pub fn prefixed(prefix: &'static str) -> Self {
        Self {
            prefix,
            ..Self::default()
        }
    }

    /// Adds a node with a name.
    pub fn named(&mut self, name: &str, op: &str, inputs: &[&str], attrs: &[(&str, Attr)]) {
        self.nodes
            .extend(message(&[bytes(1, node(name, op, inputs, attrs))]));
    }

    /// Adds a node with attributes; returns its name.
    pub fn with(&mut self, op: &str, inputs: &[&str], attrs: &[(&str, Attr)]) -> String {
        self.count += 1;
        let name = self.count.to_string();
        self.named(&name, op, inputs, attrs);
        name
    }

    /// Adds a node without attributes; returns its name.
    pub fn op(&mut self, op: &str, inputs: &[&str]) -> String {
        self.with(op, inputs, &[])
    }

    /// Adds a float32 constant.
    pub fn float(&mut self, value: f32) -> String {
        self.with("Const", &[], &[("value", Attr::Floats(vec![value]))])
    }

    /// Adds an int32 constant.
    pub fn ints(&mut self, values: &[i32]) -> String {
        self.with("Const", &[], &[("value", Attr::Ints(values.to_vec()))])
    }

    /// Adds a variable; returns the node that reads it.
    pub fn variable(&mut self, name: &str) -> String {
        let variable = format!("{}{name}", self.prefix);
        self.named(&variable, "VariableV2", &[], &[]);
        let read = self.op("Identity", &[&variable]);
        self.saved.push([name.to_owned(), read.clone()]);
        read
    }

    /// Adds the node that saves every variable under its key.
    pub fn save(&mut self) {
        let saved = std::mem::take(&mut self.saved);
        let (keys, reads): (Vec<_>, Vec<_>) = saved.into_iter().map(<(_, _)>::from).unzip();
        let names = self.with("Const", &[], &[("value", Attr::Strings(keys))]);
        let mut inputs = vec!["prefix", &names, "slices"];
        inputs.extend(reads.iter().map(String::as_str));
        self.named("save", "SaveV2", &inputs, &[]);
    }

    /// A function of one argument, `x`, in the library.
    pub fn function(&mut self, name: &str, nodes: &[(&str, &str, &[&str])], result: &str) {
        let argument = |number, name: &str| bytes(number, message(&[bytes(1, name)]));
        let signature = message(&[bytes(1, name), argument(2, "x"), argument(3, "y")]);
        let mut fields = vec![bytes(1, signature)];
        fields.extend(
            nodes
                .iter()
                .map(|(name, op, inputs)| bytes(3, node(name, op, inputs, &[]))),
        );
        fields.push(bytes(4, message(&[bytes(1, "y"), bytes(2, result)])));
        self.functions
            .extend(message(&[bytes(1, message(&fields))]));
    }

    /// The file.
    pub fn meta(&self) -> Vec<u8> {
        let mut graph = self.nodes.clone();
        graph.extend(message(&[bytes(2, self.functions.clone())]));
        message(&[bytes(2, graph)])
    }

    /// A dense layer with the gradients that training computes of it.
    pub fn dense(&mut self, x: &str, layer: &str) -> String {
        let kernel = self.variable(&format!("{layer}/kernel"));
        let bias = self.variable(&format!("{layer}/bias"));
        let product = self.op("MatMul", &[x, &kernel]);
        let output = self.op("BiasAdd", &[&product, &bias]);
        let gradient = self.op("Placeholder", &[]);
        self.with(
            "MatMul",
            &[&gradient, &kernel],
            &[("transpose_b", Attr::True)],
        );
        self.with("MatMul", &[x, &gradient], &[("transpose_a", Attr::True)]);
        output
    }

    /// Dropout as TensorFlow 2 writes it, with rate 0.1.
    pub fn dropout(&mut self, x: &str) -> String {
        let scale = self.float(1.0 / 0.9);
        let scaled = self.op("Mul", &[x, &scale]);
        let [size, rate, zero] = [self.ints(&[3]), self.float(0.1), self.float(0.0)];
        let draw = self.op("RandomUniform", &[&size]);
        let keep = self.op("GreaterEqual", &[&draw, &rate]);
        self.op("SelectV2", &[&keep, &scaled, &zero])
    }

    /// Dropout as TensorFlow 1 wrote it, with a keep probability of 0.9.
    pub fn old_dropout(&mut self, x: &str) -> String {
        let keep = self.float(0.9);
        let scaled = self.op("RealDiv", &[x, &keep]);
        let size = self.ints(&[3]);
        let draw = self.op("RandomUniform", &[&size]);
        let sum = self.op("Add", &[&keep, &draw]);
        let mask = self.op("Floor", &[&sum]);
        self.op("Mul", &[&scaled, &mask])
    }

    /// The mean of the last axis and the variance around it.
    pub fn moments(&mut self, x: &str) -> [String; 2] {
        let axes = self.ints(&[-1]);
        let mean = self.op("Mean", &[x, &axes]);
        let stopped = self.op("StopGradient", &[&mean]);
        let squares = self.op("SquaredDifference", &[x, &stopped]);
        let variance = self.op("Mean", &[&squares, &axes]);
        [mean, variance]
    }
}

/// How the parts of an encoder are spelled: each adds nodes and returns the name of its output.
pub struct Spelling {
    /// Given x.
    pub activation: fn(&mut Graph, &str) -> String,
    /// Given x, gamma and beta.
    pub norm: fn(&mut Graph, &str, [&str; 2]) -> String,
    /// Given queries and keys `[rows, hidden]`, makes the scores' softmax.
    pub attention: fn(&mut Graph, [&str; 2], Split) -> String,
}

/// How queries are split into heads.
#[derive(Clone, Copy)]
pub struct Split {
    /// The number of attention heads.
    pub heads: i32,
    /// The width of each head.
    pub size: i32,
}

/// The batch size of the graphs.
pub const BATCH: i64 = 3;
/// The sequence length of the graphs.
pub const LENGTH: i64 = 12;

/// As the original code spells them.
pub const ORIGINAL: Spelling = Spelling {
    activation: gelu,
    norm: batch_normalization,
    attention: scaled_attention,
};

/// The exact GELU.
pub fn gelu(g: &mut Graph, x: &str) -> String {
    let [root, one, half] = [2.0_f32.sqrt(), 1.0, 0.5].map(|value| g.float(value));
    let scaled = g.op("RealDiv", &[x, &root]);
    let erf = g.op("Erf", &[&scaled]);
    let sum = g.op("AddV2", &[&one, &erf]);
    let cdf = g.op("Mul", &[&half, &sum]);
    g.op("Mul", &[x, &cdf])
}

/// [`normalization`] with ELECTRA's epsilon.
pub fn batch_normalization(g: &mut Graph, x: &str, scale: [&str; 2]) -> String {
    normalization(g, x, scale, 1e-12)
}

/// `tf.nn.moments` and `tf.nn.batch_normalization`.
pub fn normalization(g: &mut Graph, x: &str, [gamma, beta]: [&str; 2], eps: f32) -> String {
    let [mean, variance] = g.moments(x);
    let epsilon = g.float(eps);
    let sum = g.op("AddV2", &[&variance, &epsilon]);
    let inverse = g.op("Rsqrt", &[&sum]);
    let factor = g.op("Mul", &[&inverse, gamma]);
    let scaled = g.op("Mul", &[x, &factor]);
    let offset = g.op("Mul", &[&mean, &factor]);
    let shift = g.op("Sub", &[beta, &offset]);
    g.op("AddV2", &[&scaled, &shift])
}

/// Splits `[rows, hidden]` into `[batch, heads, length, size]`.
pub fn split_heads(g: &mut Graph, x: &str, split: Split) -> String {
    let length = i32::try_from(LENGTH).unwrap();
    let shape = g.ints(&[3, length, split.heads, split.size]);
    let split = g.op("Reshape", &[x, &shape]);
    let axes = g.ints(&[0, 2, 1, 3]);
    g.op("Transpose", &[&split, &axes])
}

/// Scores scaled by the root of the head size and masked, and their softmax.
pub fn scaled_attention(g: &mut Graph, [q, k]: [&str; 2], split: Split) -> String {
    #[allow(clippy::cast_precision_loss)]
    let scale = 1.0 / (split.size as f32).sqrt();
    let [q, k] = [q, k].map(|x| split_heads(g, x, split));
    let scores = g.with("BatchMatMulV2", &[&q, &k], &[("adj_y", Attr::True)]);
    let factor = g.float(scale);
    let scaled = g.op("Mul", &[&scores, &factor]);
    let mask = g.op("Placeholder", &[]);
    let masked = g.op("AddV2", &[&scaled, &mask]);
    softmax(g, &masked, split)
}

/// The softmax of scores, with its output shape.
pub fn softmax(g: &mut Graph, scores: &str, split: Split) -> String {
    let shape = vec![BATCH, split.heads.into(), LENGTH, LENGTH];
    g.with(
        "Softmax",
        &[scores],
        &[("_output_shapes", Attr::Shapes(vec![shape]))],
    )
}

/// An encoder's outputs and the heads on it.
pub struct Encoder {
    /// The nodes.
    pub graph: Graph,
    /// The outputs of the layers, `[rows, hidden]`.
    pub layers: Vec<String>,
}

/// The graph of an encoder in which layer `n` is spelled as `spelling(n)`.
pub fn encoder(sizes: Sizes, heads: i32, spelling: impl Fn(i64) -> Spelling) -> Encoder {
    encoder_in(Graph::default(), sizes, heads, spelling)
}

/// As [`encoder`], added to a graph.
#[allow(
    clippy::many_single_char_names,
    reason = "as the attention's own names"
)]
pub fn encoder_in(
    mut graph: Graph,
    sizes: Sizes,
    heads: i32,
    spelling: impl Fn(i64) -> Spelling,
) -> Encoder {
    let g = &mut graph;
    let size = i32::try_from(sizes.hidden).unwrap() / heads;
    let norm = |g: &mut Graph, x: &str, scope: &str, spelling: &Spelling| {
        let [gamma, beta] = ["gamma", "beta"].map(|part| g.variable(&format!("{scope}/{part}")));
        // Gradients multiply by gamma too.
        let gradient = g.op("Placeholder", &[]);
        g.op("Mul", &[&gradient, &gamma]);
        (spelling.norm)(g, x, [&gamma, &beta])
    };
    let words = g.op("Placeholder", &[]);
    let embedded = norm(g, &words, "electra/embeddings/LayerNorm", &spelling(0));
    let mut x = g.dense(&embedded, "electra/embeddings_project");
    let mut layers = Vec::new();
    for n in 0..sizes.layers {
        let spelling = spelling(n);
        let layer = format!("electra/encoder/layer_{n}");
        let [q, k, v] = ["query", "key", "value"]
            .map(|part| g.dense(&x, &format!("{layer}/attention/self/{part}")));
        let probabilities = (spelling.attention)(g, [&q, &k], Split { heads, size });
        let probabilities = g.dropout(&probabilities);
        let values = split_heads(g, &v, Split { heads, size });
        let context = g.op("BatchMatMulV2", &[&probabilities, &values]);
        let axes = g.ints(&[0, 2, 1, 3]);
        let context = g.op("Transpose", &[&context, &axes]);
        let shape = g.ints(&[-1, heads * size]);
        let context = g.op("Reshape", &[&context, &shape]);
        let attended = g.dense(&context, &format!("{layer}/attention/output/dense"));
        let attended = g.dropout(&attended);
        let sum = g.op("AddV2", &[&attended, &x]);
        let attended = norm(
            g,
            &sum,
            &format!("{layer}/attention/output/LayerNorm"),
            &spelling,
        );
        let inner = g.dense(&attended, &format!("{layer}/intermediate/dense"));
        let inner = (spelling.activation)(g, &inner);
        let output = g.dense(&inner, &format!("{layer}/output/dense"));
        let output = g.dropout(&output);
        let sum = g.op("AddV2", &[&output, &attended]);
        x = norm(g, &sum, &format!("{layer}/output/LayerNorm"), &spelling);
        layers.push(x.clone());
    }
    Encoder { graph, layers }
}

impl Encoder {
    /// Adds the discriminator's head.
    pub fn with_discriminator(mut self, activation: fn(&mut Graph, &str) -> String) -> Graph {
        let g = &mut self.graph;
        let last = self.layers.last().expect("a layer");
        let inner = g.dense(last, "discriminator_predictions/dense");
        let inner = activation(g, &inner);
        g.dense(&inner, "discriminator_predictions/dense_1");
        self.graph
    }

    /// The outputs of all layers as `[layers, batch, sequence, hidden]`, as the original code keeps
    /// them, and the last one of them.
    pub fn sequence_output(&mut self, hidden: i64, layer: i32) -> String {
        let g = &mut self.graph;
        let [batch, length, width] = [BATCH, LENGTH, hidden].map(|n| i32::try_from(n).unwrap());
        let outputs: Vec<String> = self
            .layers
            .iter()
            .map(|output| {
                let shape = g.ints(&[batch, length, width]);
                g.op("Reshape", &[output, &shape])
            })
            .collect();
        let inputs: Vec<&str> = outputs.iter().map(String::as_str).collect();
        let stack = g.op("Pack", &inputs);
        let [begin, end, stride] = [g.ints(&[layer]), g.ints(&[layer + 1]), g.ints(&[1])];
        let attrs = [
            ("shrink_axis_mask", Attr::Int(1)),
            (
                "_output_shapes",
                Attr::Shapes(vec![vec![BATCH, LENGTH, hidden]]),
            ),
        ];
        g.with("StridedSlice", &[&stack, &begin, &end, &stride], &attrs)
    }
}
