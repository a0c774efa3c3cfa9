//! Makes Model Garden checkpoints of a model, and the same weights under the names of the original code.

use testkit::bundle_writer::{Bundle, Field, Sizes, discriminator, message};

use crate::objects::{GRAPH, SUFFIX, add_string};

/// How an encoder names its layers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Spelling {
    /// `layer_with_weights-N`, of a functional model.
    Numbered,
    /// Attributes, of a subclassed model.
    Named,
}

impl Spelling {
    pub(crate) const ALL: [Self; 2] = [Self::Numbered, Self::Named];
}

/// The paths that a way of saving gives to the parts of a model.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Saved {
    pub(crate) discriminator: &'static str,
    pub(crate) generator: &'static str,
    pub(crate) heads: &'static str,
    /// Where word embeddings are stored that both models share.
    pub(crate) shared: Shared,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Shared {
    Discriminator,
    Generator,
    Head,
}

/// `Trainer`; `tf.train.Checkpoint(model=…)`; `save_weights`; a dictionary of its own.
pub(crate) const SAVED: [Saved; 4] = [
    Saved {
        discriminator: "encoder",
        generator: "model/generator_network",
        heads: "model/",
        shared: Shared::Discriminator,
    },
    Saved {
        discriminator: "model/discriminator_network",
        generator: "model/generator_network",
        heads: "model/",
        shared: Shared::Head,
    },
    Saved {
        discriminator: "discriminator_network",
        generator: "generator_network",
        heads: "",
        shared: Shared::Head,
    },
    Saved {
        discriminator: "net",
        generator: "generator",
        heads: "pretrainer/",
        shared: Shared::Generator,
    },
];

/// A variable: its name in the original code and its shape there, and what Model Garden makes of it.
#[derive(Clone)]
struct Variable {
    original: String,
    shape: Vec<i64>,
    part: Part,
    /// The path below the encoder in both spellings, or below the model.
    paths: [String; 2],
    full: String,
    garden_shape: Vec<i64>,
}

#[derive(Clone, Copy, PartialEq)]
enum Part {
    Discriminator,
    Generator,
    Head,
    /// The word embeddings of the generator.
    Words,
}

/// A model under both kinds of names.
#[derive(Clone)]
pub(crate) struct Made {
    variables: Vec<Variable>,
    tied: bool,
}

/// The layers before the first block: in the original code, attribute, full name.
const STEM: &[(&str, &str, &str)] = &[
    (
        "embeddings/word_embeddings",
        "_embedding_layer/embeddings",
        "word_embeddings/embeddings",
    ),
    (
        "embeddings/position_embeddings",
        "_position_embedding_layer/embeddings",
        "position_embedding/embeddings",
    ),
    (
        "embeddings/token_type_embeddings",
        "_type_embedding_layer/embeddings",
        "type_embeddings/embeddings",
    ),
    (
        "embeddings/LayerNorm/",
        "_embedding_norm_layer/",
        "embeddings/layer_norm/",
    ),
    (
        "embeddings_project/",
        "_embedding_projection/",
        "embedding_projection/",
    ),
];

/// The layers of a block: in the original code, path, full name.
const BLOCK: &[(&str, &str, &str)] = &[
    (
        "attention/self/query/",
        "_attention_layer/_query_dense/",
        "self_attention/query/",
    ),
    (
        "attention/self/key/",
        "_attention_layer/_key_dense/",
        "self_attention/key/",
    ),
    (
        "attention/self/value/",
        "_attention_layer/_value_dense/",
        "self_attention/value/",
    ),
    (
        "attention/output/dense/",
        "_attention_layer/_output_dense/",
        "self_attention/attention_output/",
    ),
    (
        "attention/output/LayerNorm/",
        "_attention_layer_norm/",
        "self_attention_layer_norm/",
    ),
    (
        "intermediate/dense/",
        "_intermediate_dense/",
        "intermediate/",
    ),
    ("output/dense/", "_output_dense/", "output/"),
    (
        "output/LayerNorm/",
        "_output_layer_norm/",
        "output_layer_norm/",
    ),
];

const HEADS: &[(&str, &str)] = &[
    ("discriminator_predictions/dense_1/", "discriminator_head/"),
    (
        "discriminator_predictions/dense/",
        "discriminator_projection/",
    ),
    ("generator_predictions/dense/", "masked_lm/dense/"),
    ("generator_predictions/LayerNorm/", "masked_lm/layer_norm/"),
    (
        "generator_predictions/output_bias",
        "masked_lm/output_bias.Sbias",
    ),
];

impl Made {
    /// A discriminator and a generator of the same size.
    pub(crate) fn pre_trained(sizes: Sizes, heads: i64, tied: bool) -> Self {
        let mut variables = encoder(sizes, heads, "electra", Part::Discriminator);
        variables.extend(encoder(sizes, heads, "generator", Part::Generator));
        let (hidden, width) = (sizes.hidden, sizes.embedding);
        let shapes: [(&str, &[i64]); 9] = [
            ("discriminator_predictions/dense/kernel", &[hidden, hidden]),
            ("discriminator_predictions/dense/bias", &[hidden]),
            ("discriminator_predictions/dense_1/kernel", &[hidden, 1]),
            ("discriminator_predictions/dense_1/bias", &[1]),
            ("generator_predictions/dense/kernel", &[hidden, width]),
            ("generator_predictions/dense/bias", &[width]),
            ("generator_predictions/LayerNorm/gamma", &[width]),
            ("generator_predictions/LayerNorm/beta", &[width]),
            ("generator_predictions/output_bias", &[sizes.vocab]),
        ];
        variables.extend(shapes.iter().map(|(name, shape)| head(name, shape)));
        Self { variables, tied }
    }

    /// An encoder alone.
    pub(crate) fn encoder(sizes: Sizes, heads: i64) -> Self {
        Self {
            variables: encoder(sizes, heads, "electra", Part::Discriminator),
            tied: false,
        }
    }

    /// Adds the head of a masked language model.
    pub(crate) fn add_masked_lm(&mut self) {
        self.variables
            .push(head("generator_predictions/dense/kernel", &[64, 8]));
        self.variables
            .push(head("generator_predictions/output_bias", &[40]));
    }

    /// Replaces a part of all full names.
    pub(crate) fn rename_full(&mut self, from: &str, to: &str) {
        for variable in &mut self.variables {
            variable.full = variable.full.replace(from, to);
        }
    }

    /// The checkpoint of the original code. Tied word embeddings are there twice.
    pub(crate) fn original(&self) -> Bundle {
        let mut bundle = Bundle::default();
        for variable in &self.variables {
            bundle.add_floats(&self.source(variable), &variable.shape);
            bundle.entries.last_mut().unwrap().name = variable.original.clone().into_bytes();
        }
        bundle
    }

    /// The checkpoint of Model Garden, with what it has besides: poolers, the next-sentence head, a counter.
    pub(crate) fn garden(&self, spelling: Spelling, saved: Saved) -> Bundle {
        let mut bundle = Bundle::default();
        let mut nodes = Vec::new();
        let mut add = |source: &str, path: &str, full: &str, shape: &[i64]| {
            bundle.add_floats(source, shape);
            let key = format!("{path}{SUFFIX}").into_bytes();
            bundle.entries.last_mut().unwrap().name.clone_from(&key);
            nodes.push((key, full.to_owned()));
        };
        let has_generator = self.variables.iter().any(|v| v.part == Part::Generator);
        for variable in &self.variables {
            let path = &variable.paths[usize::from(spelling == Spelling::Named)];
            let table = format!("{}masked_lm/embedding_table", saved.heads);
            let is_words = path.ends_with("-0/embeddings") || path == "_embedding_layer/embeddings";
            let scoped = |scope: &str| format!("{scope}/{path}");
            let path = match variable.part {
                Part::Words if self.tied => continue,
                Part::Words if saved.shared == Shared::Generator => scoped(saved.generator),
                Part::Words => table,
                Part::Discriminator if is_words && self.tied => match saved.shared {
                    Shared::Discriminator => scoped(saved.discriminator),
                    Shared::Generator => scoped(saved.generator),
                    Shared::Head => table,
                },
                Part::Discriminator => scoped(saved.discriminator),
                Part::Generator => scoped(saved.generator),
                Part::Head => format!("{}{path}", saved.heads),
            };
            let source = self.source(variable);
            add(&source, &path, &variable.full, &variable.garden_shape);
        }
        let layers = self
            .variables
            .iter()
            .filter(|v| v.original.ends_with("query/bias"));
        let layers = layers.filter(|v| v.part == Part::Discriminator).count();
        let has_projection = self
            .variables
            .iter()
            .any(|v| v.original.contains("_project/"));
        let pooler = match spelling {
            Spelling::Named => "_pooler_layer".to_owned(),
            Spelling::Numbered => {
                format!(
                    "layer_with_weights-{}",
                    4 + usize::from(has_projection) + layers
                )
            }
        };
        add(
            "p",
            &format!("{}/{pooler}/kernel", saved.discriminator),
            "pooler_transform/kernel",
            &[64, 64],
        );
        add(
            "p",
            &format!("{}/{pooler}/bias", saved.discriminator),
            "pooler_transform/bias",
            &[64],
        );
        if has_generator {
            let dense = format!("{}classification/dense/kernel", saved.heads);
            add(
                "s",
                &dense,
                "x/generator_classification_head/pooler_dense/kernel",
                &[64, 64],
            );
        }
        let graph: Vec<(u32, Field)> = nodes
            .into_iter()
            .map(|(key, full)| node(key, &full))
            .collect();
        add_string(&mut bundle, GRAPH, &message(&graph));
        bundle
    }

    /// The name that the values of a variable are made from.
    fn source(&self, variable: &Variable) -> String {
        if self.tied && variable.part == Part::Words {
            return "electra/embeddings/word_embeddings".to_owned();
        }
        variable.original.clone()
    }
}

fn node(key: Vec<u8>, full: &str) -> (u32, Field) {
    let attribute = message(&[
        (1, Field::Bytes(b"VARIABLE_VALUE".to_vec())),
        (2, Field::Bytes(full.as_bytes().to_vec())),
        (3, Field::Bytes(key)),
    ]);
    (1, Field::Bytes(message(&[(2, Field::Bytes(attribute))])))
}

fn encoder(sizes: Sizes, heads: i64, scope: &str, part: Part) -> Vec<Variable> {
    let projection = usize::from(sizes.embedding != sizes.hidden);
    let entries = discriminator(sizes).entries.into_iter();
    let names = entries.map(|entry| (String::from_utf8(entry.name).unwrap(), entry.shape));
    names
        .filter_map(|(name, shape)| {
            let name = name.strip_prefix("electra/")?.to_owned();
            let (paths, full, garden_shape) = match name.strip_prefix("encoder/layer_") {
                Some(rest) => block(rest, projection, &shape, heads),
                None => stem(&name, &shape),
            };
            let is_words = name.ends_with("/word_embeddings");
            let part = if is_words && part == Part::Generator {
                Part::Words
            } else {
                part
            };
            Some(Variable {
                original: format!("{scope}/{name}"),
                shape,
                part,
                paths,
                full,
                garden_shape,
            })
        })
        .collect()
}

fn stem(name: &str, shape: &[i64]) -> ([String; 2], String, Vec<i64>) {
    let mut rows = STEM.iter().enumerate();
    let (at, row) = rows.find(|(_, row)| name.starts_with(row.0)).unwrap();
    let rest = &name[row.0.len()..];
    let inner = row.1.split_once('/').unwrap().1;
    let numbered = format!("layer_with_weights-{at}/{inner}{rest}");
    (
        [numbered, format!("{}{rest}", row.1)],
        format!("{}{rest}", row.2),
        shape.to_vec(),
    )
}

fn block(
    rest: &str,
    projection: usize,
    shape: &[i64],
    heads: i64,
) -> ([String; 2], String, Vec<i64>) {
    let (number, name) = rest.split_once('/').unwrap();
    let row = BLOCK.iter().find(|row| name.starts_with(row.0)).unwrap();
    let leaf = &name[row.0.len()..];
    let at = 4 + projection + number.parse::<usize>().unwrap();
    let paths = [
        format!("layer_with_weights-{at}/{}{leaf}", row.1),
        format!("_transformer_layers/{number}/{}{leaf}", row.1),
    ];
    let is_split = row.0.starts_with("attention/self/");
    let garden_shape = match shape {
        [rows, columns] if is_split => vec![*rows, heads, columns / heads],
        [columns] if is_split => vec![heads, columns / heads],
        [rows, columns] if row.0 == "attention/output/dense/" => {
            vec![heads, rows / heads, *columns]
        }
        _ => shape.to_vec(),
    };
    (
        paths,
        format!("transformer/layer_{number}/{}{leaf}", row.2),
        garden_shape,
    )
}

fn head(name: &str, shape: &[i64]) -> Variable {
    let row = HEADS.iter().find(|row| name.starts_with(row.0)).unwrap();
    let path = format!("{}{}", row.1, &name[row.0.len()..]);
    Variable {
        original: name.to_owned(),
        shape: shape.to_vec(),
        part: Part::Head,
        paths: [path.clone(), path.clone()],
        full: format!("electra_pretrainer/{path}"),
        garden_shape: shape.to_vec(),
    }
}

/// Gives another shape to the only variable in `scope` whose path has this end.
pub(crate) fn reshape(bundle: &mut Bundle, scope: &str, end: &str, shape: &[i64]) {
    let name =
        |bundle: &Bundle, at: usize| String::from_utf8(bundle.entries[at].name.clone()).unwrap();
    let end = format!("{end}{SUFFIX}");
    let is_meant =
        |at: &usize| name(bundle, *at).starts_with(scope) && name(bundle, *at).ends_with(&end);
    let found: Vec<usize> = (0..bundle.entries.len()).filter(is_meant).collect();
    let [at] = found[..] else {
        panic!("{end}: {}", found.len());
    };
    let key = bundle.entries[at].name.clone();
    bundle.entries.remove(at);
    bundle.add_floats("damaged", shape);
    bundle.entries.last_mut().unwrap().name = key;
}

/// Adds a variable; `full` is its full name, or empty.
pub(crate) fn add(bundle: &mut Bundle, path: &str, full: &str, shape: &[i64]) {
    let key = format!("{path}{SUFFIX}").into_bytes();
    bundle.add_floats(path, shape);
    bundle.entries.last_mut().unwrap().name.clone_from(&key);
    extend_graph(bundle, &message(&[node(key, full)]));
}

/// Adds all variables of another checkpoint.
pub(crate) fn append(bundle: &mut Bundle, other: &Bundle) {
    let graph = graph_of(other);
    for entry in &other.entries {
        if entry.name != GRAPH.as_bytes() {
            let name = String::from_utf8(entry.name.clone()).unwrap();
            bundle.add_floats(&name, &entry.shape);
        }
    }
    extend_graph(bundle, &graph);
}

/// Messages in a row are one message with the fields of all.
fn extend_graph(bundle: &mut Bundle, more: &[u8]) {
    let graph = [&graph_of(bundle)[..], more].concat();
    bundle.remove(GRAPH);
    add_string(bundle, GRAPH, &graph);
}

fn graph_of(bundle: &Bundle) -> Vec<u8> {
    let entry = bundle
        .entries
        .iter()
        .find(|entry| entry.name == GRAPH.as_bytes());
    let entry = entry.unwrap();
    let range = |n: u64| usize::try_from(n).unwrap();
    let bytes = &bundle.data[range(entry.offset)..range(entry.offset + entry.size)];
    // The length, and four bytes with its checksum.
    let digits = bytes.iter().take_while(|byte| **byte >= 0x80).count() + 1;
    bytes[digits + 4..].to_vec()
}
