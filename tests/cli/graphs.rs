//! What training graphs show, however they are spelled.

use std::fs;

use tempfile::TempDir;

use testkit::bundle_writer::{Bundle, SMALL, discriminator};
use testkit::graph_writer::{
    Attr, BATCH, Encoder, Graph, LENGTH, ORIGINAL, Spelling, Split, encoder, encoder_in, gelu,
    normalization, scaled_attention, softmax, split_heads,
};
use testkit::{Run, run, temp};

/// Plans the discriminator of a checkpoint with this graph beside it.
fn plan(bundle: &Bundle, graph: &Graph, options: &[&str]) -> (TempDir, Run) {
    plan_model("discriminator", bundle, graph, options)
}

fn plan_model(model: &str, bundle: &Bundle, graph: &Graph, options: &[&str]) -> (TempDir, Run) {
    let folder = temp();
    bundle.write(&folder.path().join("m"));
    fs::write(folder.path().join("m.meta"), graph.meta()).unwrap();
    let mut command = testkit::command(&[&"--model", &model, &"--dry-run", &"--json"]);
    command.args(["--vocab", "none"]).args(options);
    command
        .arg(folder.path().join("m"))
        .arg(folder.path().join("out"));
    let run = Run::from(command.output().unwrap());
    (folder, run)
}

/// A graph whose layers are all spelled in one way.
fn graph(spelling: fn() -> Spelling) -> Graph {
    encoder(SMALL, 4, |_| spelling()).with_discriminator(spelling().activation)
}

#[track_caller]
fn shows(graph: &Graph, key: &str, expected: impl Into<serde_json::Value>) {
    let (_folder, run) = plan(&discriminator(SMALL), graph, &[]);
    let export = &run.ok().json()["exports"][0];
    assert_eq!(export["config"][key], expected.into());
    assert_eq!(export["config_sources"][key]["kind"], "meta_graph");
}

#[track_caller]
fn refuses(graph: &Graph, words: &[&str]) {
    let (_folder, run) = plan(&discriminator(SMALL), graph, &[]);
    run.fails(4, words);
}

/// A spelling of an activation.
type Spelled = fn(&mut Graph, &str) -> String;

/// `tanh(√(2/π) (x + 0.044715 x³))`, as a part of gelu.
fn tanh_gelu(g: &mut Graph, x: &str, cube: &str) -> String {
    let [c, root, one, half] =
        [0.044_715, (2.0 / std::f32::consts::PI).sqrt(), 1.0, 0.5].map(|value| g.float(value));
    let small = g.op("Mul", &[&c, cube]);
    let sum = g.op("AddV2", &[x, &small]);
    let inner = g.op("Mul", &[&root, &sum]);
    let tanh = g.op("Tanh", &[&inner]);
    let sum = g.op("AddV2", &[&one, &tanh]);
    let cdf = g.op("Mul", &[&half, &sum]);
    g.op("Mul", &[x, &cdf])
}

fn times_sigmoid(g: &mut Graph, x: &str, factor: f32) -> String {
    let factor = g.float(factor);
    let scaled = g.op("Mul", &[&factor, x]);
    let sigmoid = g.op("Sigmoid", &[&scaled]);
    g.op("Mul", &[x, &sigmoid])
}

const SPELLINGS: &[(&str, Spelled)] = &[
    ("gelu", gelu),
    ("gelu", |g, x| {
        // With erfc, the factors in another order, and dropout behind it.
        let [root, half] = [-0.5_f32.sqrt(), 0.5].map(|value| g.float(value));
        let scaled = g.op("Mul", &[x, &root]);
        let erfc = g.op("Erfc", &[&scaled]);
        let product = g.op("Mul", &[x, &erfc]);
        let gelu = g.op("Mul", &[&product, &half]);
        g.old_dropout(&gelu)
    }),
    ("gelu_new", |g, x| {
        let three = g.float(3.0);
        let cube = g.op("Pow", &[x, &three]);
        tanh_gelu(g, x, &cube)
    }),
    ("gelu_new", |g, x| {
        let square = g.op("Square", &[x]);
        let cube = g.op("Mul", &[&square, x]);
        let gelu = tanh_gelu(g, x, &cube);
        g.dropout(&gelu)
    }),
    ("quick_gelu", |g, x| times_sigmoid(g, x, 1.702)),
    ("silu", |g, x| times_sigmoid(g, x, 1.0)),
    ("silu", |g, x| {
        // With a gradient of its own, as `tf.nn.swish` has it.
        let swish = times_sigmoid(g, x, 1.0);
        g.op("IdentityN", &[&swish, x])
    }),
    ("relu", |g, x| g.op("Relu", &[x])),
    ("relu", |g, x| {
        let zero = g.float(0.0);
        g.op("Maximum", &[x, &zero])
    }),
    ("relu6", |g, x| g.op("Relu6", &[x])),
    ("relu2", |g, x| {
        let relu = g.op("Relu", &[x]);
        g.op("Square", &[&relu])
    }),
    ("mish", |g, x| {
        let softplus = g.op("Softplus", &[x]);
        let tanh = g.op("Tanh", &[&softplus]);
        g.op("Mul", &[x, &tanh])
    }),
    ("sigmoid", |g, x| g.op("Sigmoid", &[x])),
    ("tanh", |g, x| g.op("Tanh", &[x])),
    ("linear", |_, x| x.to_owned()),
    ("leaky_relu", |g, x| {
        g.with("LeakyRelu", &[x], &[("alpha", Attr::Float(0.01))])
    }),
    ("relu", |g, x| {
        // Traced by `tf.function`, called through another function.
        g.function("outer", &[("call", "inner", &["x"])], "call:y:0");
        g.function("inner", &[("inner", "Relu", &["x"])], "inner:activations:0");
        g.with("PartitionedCall", &[x], &[("f", Attr::Function("outer"))])
    }),
];

#[test]
fn activations_are_recognised_by_what_they_compute() {
    for &(expected, activation) in SPELLINGS {
        let graph = encoder(SMALL, 4, |_| Spelling {
            activation,
            ..ORIGINAL
        });
        shows(
            &graph.with_discriminator(activation),
            "hidden_act",
            expected,
        );
    }
}

#[test]
fn an_activation_that_no_class_has_is_refused_and_can_be_stated() {
    let others: &[(&str, Spelled)] = &[
        ("Elu", |g, x| g.op("Elu", &[x])),
        ("Selu", |g, x| g.op("Selu", &[x])),
        ("LeakyRelu", |g, x| g.op("LeakyRelu", &[x])),
        ("Sigmoid", |g, x| times_sigmoid(g, x, 1.5)),
        ("Minimum", |g, x| {
            let (relu, cap) = (g.op("Relu", &[x]), g.float(20.0));
            g.op("Minimum", &[&relu, &cap])
        }),
        ("Prelu", |g, x| g.op("Prelu", &[x])),
        ("VariableV2", |g, x| {
            let slope = g.variable("slope");
            g.op("Mul", &[&slope, x])
        }),
        // Dropout that does not scale what it keeps.
        ("SelectV2", |g, x| {
            let [size, rate, zero] = [g.ints(&[3]), g.float(0.1), g.float(0.0)];
            let draw = g.op("RandomUniform", &[&size]);
            let keep = g.op("GreaterEqual", &[&draw, &rate]);
            g.op("SelectV2", &[&keep, x, &zero])
        }),
        ("Missing", |g, x| {
            g.with("PartitionedCall", &[x], &[("f", Attr::Function("Missing"))])
        }),
    ];
    for &(op, activation) in others {
        let graph = encoder(SMALL, 4, |_| Spelling {
            activation,
            ..ORIGINAL
        });
        let graph = graph.with_discriminator(activation);
        let op = if op == "Missing" {
            "PartitionedCall"
        } else {
            op
        };
        refuses(
            &graph,
            &[
                "m.meta",
                "layer_0/intermediate/dense",
                op,
                "node",
                "--hidden-act",
            ],
        );
        let (_folder, run) = plan(&discriminator(SMALL), &graph, &["--hidden-act", "relu"]);
        let export = &run.ok().json()["exports"][0];
        assert_eq!(export["config_sources"]["hidden_act"]["kind"], "option");
    }
}

#[test]
fn layers_and_heads_must_have_one_activation() {
    let relu: Spelled = |g, x| g.op("Relu", &[x]);
    let mixed = encoder(SMALL, 4, |n| Spelling {
        activation: if n == 1 { relu } else { gelu },
        ..ORIGINAL
    });
    refuses(
        &mixed.with_discriminator(gelu),
        &["hidden_act", "gelu", "relu", "m.meta"],
    );
    let head = encoder(SMALL, 4, |_| ORIGINAL).with_discriminator(relu);
    refuses(&head, &["hidden_act", "gelu", "relu", "m.meta"]);
}

/// A spelling of a LayerNorm of x, given gamma and beta.
type Norm = fn(&mut Graph, &str, [&str; 2]) -> String;

/// Spellings of a LayerNorm, with their epsilons.
const NORMS: &[(f64, Norm)] = &[
    (1e-12, |g, x, scale| normalization(g, x, scale, 1e-12)),
    (1e-3, |g, x, scale| normalization(g, x, scale, 1e-3)),
    (1e-6, |g, x, [gamma, beta]| {
        // (x - mean) / √(variance + ε), with the variance as the mean of a square.
        let axes = g.ints(&[-1]);
        let mean = g.op("Mean", &[x, &axes]);
        let deviation = g.op("Sub", &[x, &mean]);
        let square = g.op("Square", &[&deviation]);
        let variance = g.op("Mean", &[&square, &axes]);
        let epsilon = g.float(1e-6);
        let sum = g.op("Add", &[&variance, &epsilon]);
        let root = g.op("Sqrt", &[&sum]);
        let normal = g.op("RealDiv", &[&deviation, &root]);
        let scaled = g.op("Mul", &[gamma, &normal]);
        g.op("Add", &[&scaled, beta])
    }),
    (1e-5, |g, x, [gamma, beta]| {
        let axes = g.ints(&[-1]);
        let mean = g.op("Mean", &[x, &axes]);
        let deviation = g.op("Sub", &[x, &mean]);
        let square = g.op("Mul", &[&deviation, &deviation]);
        let variance = g.op("Mean", &[&square, &axes]);
        let [epsilon, power] = [g.float(1e-5), g.float(-0.5)];
        let sum = g.op("AddV2", &[&variance, &epsilon]);
        let inverse = g.op("Pow", &[&sum, &power]);
        let normal = g.op("Mul", &[&deviation, &inverse]);
        let scaled = g.op("Mul", &[&normal, gamma]);
        g.op("AddV2", &[&scaled, beta])
    }),
    (0.001, |g, x, [gamma, beta]| {
        // Keras' LayerNormalization.
        let shape = g.ints(&[1, -1, 64, 1]);
        let reshaped = g.op("Reshape", &[x, &shape]);
        let [one, zero] = [g.float(1.0), g.float(0.0)];
        let fused = g.with(
            "FusedBatchNormV3",
            &[&reshaped, &one, &zero, &zero, &zero],
            &[("epsilon", Attr::Float(0.001))],
        );
        let shape = g.ints(&[-1, 64]);
        let normal = g.op("Reshape", &[&fused, &shape]);
        let scaled = g.op("Mul", &[&normal, gamma]);
        g.op("AddV2", &[&scaled, beta])
    }),
];

#[test]
fn the_epsilon_is_that_of_every_layer_norm() {
    for &(expected, norm) in NORMS {
        let graph = encoder(SMALL, 4, |_| Spelling { norm, ..ORIGINAL });
        shows(&graph.with_discriminator(gelu), "layer_norm_eps", expected);
    }

    let foreign: &[Norm] = &[
        // ε added to the standard deviation.
        |g, x, [gamma, beta]| {
            let [mean, variance] = g.moments(x);
            let epsilon = g.float(1e-3);
            let root = g.op("Sqrt", &[&variance]);
            let sum = g.op("AddV2", &[&root, &epsilon]);
            let deviation = g.op("Sub", &[x, &mean]);
            let normal = g.op("RealDiv", &[&deviation, &sum]);
            let scaled = g.op("Mul", &[&normal, gamma]);
            g.op("AddV2", &[&scaled, beta])
        },
        // No mean is subtracted.
        |g, x, [gamma, beta]| {
            let axes = g.ints(&[-1]);
            let square = g.op("Square", &[x]);
            let mean = g.op("Mean", &[&square, &axes]);
            let epsilon = g.float(1e-6);
            let sum = g.op("AddV2", &[&mean, &epsilon]);
            let inverse = g.op("Rsqrt", &[&sum]);
            let normal = g.op("Mul", &[x, &inverse]);
            let scaled = g.op("Mul", &[&normal, gamma]);
            g.op("AddV2", &[&scaled, beta])
        },
    ];
    let words = ["m.meta", "epsilon", "LayerNorm"];
    let option = ["--layer-norm-eps", "1e-6"];
    for &norm in foreign {
        let graph = encoder(SMALL, 4, |_| Spelling { norm, ..ORIGINAL });
        let graph = graph.with_discriminator(gelu);
        for options in [&[][..], &option] {
            let (_folder, run) = plan(&discriminator(SMALL), &graph, options);
            run.fails(4, &words).fails(4, &["no Hugging Face class"]);
        }
    }
    // What is not followed to its end can be stated.
    let unknown: Norm = |g, x, [gamma, beta]| {
        let scaled = g.op("Mul", &[x, gamma]);
        g.op("AddV2", &[&scaled, beta])
    };
    let graph_of = |norm| encoder(SMALL, 4, |_| Spelling { norm, ..ORIGINAL });
    let other = graph_of(unknown).with_discriminator(gelu);
    refuses(&other, &[&words[..], &["--layer-norm-eps"]].concat());
    let (_folder, run) = plan(&discriminator(SMALL), &other, &option);
    let config = &run.ok().json()["exports"][0]["config"];
    assert_eq!(config["layer_norm_eps"], 1e-6);

    let mixed = encoder(SMALL, 4, |n| Spelling {
        norm: if n == 0 {
            |g, x, scale| normalization(g, x, scale, 1e-12)
        } else {
            |g, x, scale| normalization(g, x, scale, 1e-5)
        },
        ..ORIGINAL
    });
    refuses(
        &mixed.with_discriminator(gelu),
        &["layer_norm_eps", "1e-12", "1e-5"],
    );
    let graph = graph(|| ORIGINAL);
    let (_folder, run) = plan(&discriminator(SMALL), &graph, &["--layer-norm-eps", "1e-6"]);
    run.fails(4, &["layer_norm_eps is 1e-6 by --layer-norm-eps", "1e-12"]);
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table of spellings")]
fn head_counts_follow_from_splits_and_scales() {
    type Attention = fn(&mut Graph, [&str; 2], Split) -> String;
    fn product(g: &mut Graph, [q, k]: [&str; 2]) -> String {
        g.with("BatchMatMulV2", &[q, k], &[("adj_y", Attr::True)])
    }
    let spellings: &[Attention] = &[
        scaled_attention,
        // Queries are scaled before the product, by a division.
        |g, [q, k], split| {
            let [size, zero] = [g.ints(&[split.size]), g.float(0.0)];
            let size = g.op("Cast", &[&size]);
            let root = g.op("Sqrt", &[&size]);
            let q = g.op("RealDiv", &[q, &root]);
            let [q, k] = [&q, k].map(|x| split_heads(g, x, split));
            let scores = product(g, [&q, &k]);
            let scores = g.op("AddV2", &[&scores, &zero]);
            softmax(g, &scores, split)
        },
        // A shape with unknown axes; nothing but the scale shows the head size.
        |g, [q, k], split| {
            let [q, k] = [q, k].map(|x| {
                let shape = g.op("Placeholder", &[]);
                let x = g.op("Reshape", &[x, &shape]);
                let axes = g.ints(&[0, 2, 1, 3]);
                g.op("Transpose", &[&x, &axes])
            });
            let scores = product(g, [&q, &k]);
            #[allow(clippy::cast_precision_loss)]
            let factor = g.float(1.0 / (split.size as f32).sqrt());
            let scaled = g.op("Mul", &[&factor, &scores]);
            softmax(g, &scaled, split)
        },
    ];
    for heads in [1, 2, 4, 16] {
        for &attention in spellings {
            let graph = encoder(SMALL, heads, |_| Spelling {
                attention,
                ..ORIGINAL
            });
            shows(
                &graph.with_discriminator(gelu),
                "num_attention_heads",
                heads,
            );
        }
    }

    let others: &[(Attention, &str)] = &[
        (
            |g, [q, k], split| {
                let [q, k] = [q, k].map(|x| split_heads(g, x, split));
                let scores = product(g, [&q, &k]);
                softmax(g, &scores, split)
            },
            "not scaled",
        ),
        (
            |g, [q, k], split| {
                let [q, k] = [q, k].map(|x| split_heads(g, x, split));
                let scores = product(g, [&q, &k]);
                let factor = g.float(0.3);
                let scaled = g.op("Mul", &[&scores, &factor]);
                softmax(g, &scaled, split)
            },
            "scaled by 0.3",
        ),
        (
            |g, [q, k], split| {
                let k = g.op("Tanh", &[k]);
                scaled_attention(g, [q, &k], split)
            },
            "no product of these queries",
        ),
        (
            |g, [q, k], split| {
                let [q, k] = [q, k].map(|x| split_heads(g, x, split));
                let scores = product(g, [&q, &k]);
                let factor = g.float(0.25);
                let scores = g.op("Mul", &[&scores, &factor]);
                g.op("Sigmoid", &[&scores])
            },
            "no softmax",
        ),
    ];
    for (attention, words) in others {
        let graph = encoder(SMALL, 4, |_| Spelling {
            attention: *attention,
            ..ORIGINAL
        });
        let graph = graph.with_discriminator(gelu);
        refuses(&graph, &["m.meta", "layer_0", words]);
        let option = ["--num-attention-heads", "4"];
        let (_folder, run) = plan(&discriminator(SMALL), &graph, &option);
        if words.contains("scaled") {
            run.fails(4, &["no Hugging Face class"]);
        } else {
            run.ok();
        }
    }
    // The scale of another head size than that of the split.
    let graph = encoder(SMALL, 4, |_| Spelling {
        attention: |g, x, split| {
            let [q, k] = x.map(|x| split_heads(g, x, split));
            let scores = product(g, [&q, &k]);
            let factor = g.float(0.125);
            let scaled = g.op("Mul", &[&scores, &factor]);
            softmax(g, &scaled, split)
        },
        ..ORIGINAL
    });
    refuses(
        &graph.with_discriminator(gelu),
        &["num_attention_heads is 4", "but 1"],
    );
}

#[test]
fn a_graph_without_the_model_shows_nothing() {
    let mut graph = Graph::default();
    graph.variable("electra/encoder/layer_0/intermediate/dense/kernel");
    let (_folder, run) = plan(&discriminator(SMALL), &graph, &[]);
    let sources = &run.ok().json()["exports"][0]["config_sources"];
    for key in ["hidden_act", "layer_norm_eps", "num_attention_heads"] {
        assert_eq!(sources[key]["kind"], "original_code", "{key}");
    }
}

#[test]
fn variables_are_those_that_the_saver_names() {
    let relu: Spelled = |g, x| g.op("Relu", &[x]);
    let spelling = |_| Spelling {
        activation: relu,
        ..ORIGINAL
    };
    // The graph has other names than the checkpoint, as in a tower of several.
    let graph = Graph::prefixed("tower_0/");
    let mut graph = encoder_in(graph, SMALL, 4, spelling).with_discriminator(relu);
    graph.save();
    shows(&graph, "hidden_act", "relu");

    // The checkpoint has other names than the models, which `--rename` changes.
    let mut bundle = discriminator(SMALL);
    for entry in &mut bundle.entries {
        let name = String::from_utf8(entry.name.clone()).unwrap();
        entry.name = name.replace("electra/", "tower_0/electra/").into_bytes();
    }
    let graph = Graph::prefixed("tower_0/");
    let graph = encoder_in(graph, SMALL, 4, spelling).with_discriminator(relu);
    let (_folder, run) = plan(
        &bundle,
        &graph,
        &[
            "--rename",
            "^tower_0/electra=electra",
            "--rename",
            "^tower_0/=",
        ],
    );
    assert_eq!(
        run.ok().json()["exports"][0]["config"]["hidden_act"],
        "relu"
    );
}

/// What a head is given: adds the nodes between the encoder and a dense layer.
type Pooling = fn(&mut Encoder) -> String;

/// `x[begin:end]` of the second axis, or its item `begin`.
fn tokens(g: &mut Graph, x: &str, begin: i32, end: i32, shrink: i64) -> String {
    let [first, last, stride] = [g.ints(&[0, begin]), g.ints(&[0, end]), g.ints(&[1, 1])];
    let attrs = [
        ("begin_mask", Attr::Int(1)),
        ("end_mask", Attr::Int(1)),
        ("shrink_axis_mask", Attr::Int(shrink)),
    ];
    g.with("StridedSlice", &[x, &first, &last, &stride], &attrs)
}

fn fine_tuned() -> Bundle {
    let mut bundle = discriminator(SMALL);
    for layer in ["dense", "dense_1"] {
        for part in ["kernel", "bias"] {
            bundle.remove(&format!("discriminator_predictions/{layer}/{part}"));
        }
    }
    bundle.add_floats("task_specific/intents/dense/kernel", &[SMALL.hidden, 5]);
    bundle.add_floats("task_specific/intents/dense/bias", &[5]);
    bundle
}

fn plan_task(pooling: Pooling, options: &[&str]) -> Run {
    let mut encoder = encoder(SMALL, 4, |_| ORIGINAL);
    let features = pooling(&mut encoder);
    encoder
        .graph
        .dense(&features, "task_specific/intents/dense");
    plan_model("finetuned", &fine_tuned(), &encoder.graph, options).1
}

#[test]
fn a_head_on_tokens_has_the_class_that_reads_them() {
    let every: &[Pooling] = &[
        |e| e.layers.last().unwrap().clone(),
        |e| e.sequence_output(SMALL.hidden, -1),
        |e| {
            let x = e.sequence_output(SMALL.hidden, 1);
            let dropped = e.graph.dropout(&x);
            let shape = e.graph.ints(&[-1, 64]);
            e.graph.op("Reshape", &[&dropped, &shape])
        },
        |e| {
            // `tf.tensordot` of features whose shape is not static.
            let x = e.sequence_output(SMALL.hidden, -1);
            let g = &mut e.graph;
            let [free, summed, axis] = [g.ints(&[0, 1]), g.ints(&[2]), g.ints(&[0])];
            let permutation = g.op("ConcatV2", &[&free, &summed, &axis]);
            let transposed = g.op("Transpose", &[&x, &permutation]);
            let shape = g.op("Placeholder", &[]);
            g.op("Reshape", &[&transposed, &shape])
        },
        |e| {
            // At chosen positions, as Google's chunking reads them.
            let x = e.sequence_output(SMALL.hidden, -1);
            let g = &mut e.graph;
            let shape = g.ints(&[36, 64]);
            let rows = vec![BATCH * LENGTH, SMALL.hidden];
            let flat = g.with(
                "Reshape",
                &[&x, &shape],
                &[("_output_shapes", Attr::Shapes(vec![rows]))],
            );
            let positions = vec![vec![BATCH * 6]];
            let positions = g.with(
                "Placeholder",
                &[],
                &[("_output_shapes", Attr::Shapes(positions))],
            );
            let axis = g.ints(&[0]);
            g.op("GatherV2", &[&flat, &positions, &axis])
        },
    ];
    let first: &[Pooling] = &[
        |e| {
            let x = e.sequence_output(SMALL.hidden, -1);
            let first = tokens(&mut e.graph, &x, 0, 1, 2);
            e.graph.dropout(&first)
        },
        |e| {
            let x = e.sequence_output(SMALL.hidden, -1);
            let first = tokens(&mut e.graph, &x, 0, 1, 0);
            let squeezed = e.graph.op("Squeeze", &[&first]);
            e.graph.old_dropout(&squeezed)
        },
        |e| {
            let x = e.sequence_output(SMALL.hidden, -1);
            let g = &mut e.graph;
            let [index, axis] = [g.ints(&[0]), g.ints(&[1])];
            g.op("GatherV2", &[&x, &index, &axis])
        },
        |e| {
            let x = e.sequence_output(SMALL.hidden, -1);
            let g = &mut e.graph;
            let [begin, size] = [g.ints(&[0, 0, 0]), g.ints(&[-1, 1, -1])];
            let first = g.op("Slice", &[&x, &begin, &size]);
            g.op("Squeeze", &[&first])
        },
    ];
    for (poolings, class) in [
        (every, "ElectraForTokenClassification"),
        (first, "ElectraForSequenceClassification"),
    ] {
        for &pooling in poolings {
            let plan = plan_task(pooling, &[]).ok().json();
            assert_eq!(plan["exports"][0]["architecture"], class);
        }
    }
    plan_task(every[0], &["--task-kind", "classification"]).fails(4, &["--task-kind", "m.meta"]);
}

/// Heads that no class has, with words of the refusal.
const FOREIGN: &[(Pooling, &str)] = &[
    (
        |e| {
            let x = e.sequence_output(SMALL.hidden, -1);
            let axis = e.graph.ints(&[1]);
            e.graph.op("Mean", &[&x, &axis])
        },
        "mean or sum",
    ),
    (
        |e| {
            // The mean of the tokens that are not padding.
            let x = e.sequence_output(SMALL.hidden, -1);
            let g = &mut e.graph;
            let [mask, axis] = [g.op("Placeholder", &[]), g.ints(&[1])];
            let masked = g.op("Mul", &[&x, &mask]);
            let [sum, count] = [&masked, &mask].map(|x| g.op("Sum", &[x, &axis]));
            g.op("RealDiv", &[&sum, &count])
        },
        "mean or sum",
    ),
    (
        |e| {
            let x = e.sequence_output(SMALL.hidden, -1);
            let axis = e.graph.ints(&[1]);
            e.graph.op("Max", &[&x, &axis])
        },
        "extremes",
    ),
    (
        |e| e.sequence_output(SMALL.hidden, -2),
        "layer 0 of the encoder, which has 2",
    ),
    (
        |e| e.layers[0].clone(),
        "layer 0 of the encoder, which has 2",
    ),
    (
        |e| {
            let x = e.sequence_output(SMALL.hidden, -1);
            tokens(&mut e.graph, &x, -1, 0, 2)
        },
        "a part of the tokens",
    ),
    (
        |e| {
            let x = e.sequence_output(SMALL.hidden, -1);
            tokens(&mut e.graph, &x, 3, 4, 2)
        },
        "a part of the tokens",
    ),
    (
        |e| {
            let [a, b] = [-1, -2].map(|layer| e.sequence_output(SMALL.hidden, layer));
            let axis = e.graph.ints(&[-1]);
            e.graph.op("ConcatV2", &[&a, &b, &axis])
        },
        "concatenation",
    ),
    (
        |e| {
            let [a, b] = [-1, -2].map(|layer| e.sequence_output(SMALL.hidden, layer));
            e.graph.op("AddV2", &[&a, &b])
        },
        "sum",
    ),
    (
        |e| {
            let x = e.sequence_output(SMALL.hidden, -1);
            let first = tokens(&mut e.graph, &x, 0, 1, 2);
            let pooled = e.graph.dense(&first, "electra/pooler/dense");
            e.graph.op("Tanh", &[&pooled])
        },
        "an activation",
    ),
    (
        |e| {
            let x = e.layers.last().unwrap().clone();
            e.graph.dense(&x, "hidden")
        },
        "a sum",
    ),
    (
        |e| {
            let x = e.layers.last().unwrap().clone();
            let two = e.graph.float(2.0);
            e.graph.op("Mul", &[&x, &two])
        },
        "times 2.0000",
    ),
];

#[test]
fn a_head_that_no_class_has_is_refused() {
    for (pooling, words) in FOREIGN {
        for options in [&[][..], &["--task-kind", "tagging"]] {
            plan_task(*pooling, options)
                .fails(4, &["intents", words, "node", "--model discriminator"]);
        }
    }
    // Parts of several tokens, and a token at a chosen position, are not the first token.
    let parts: Pooling = |e| {
        let x = e.sequence_output(SMALL.hidden, -1);
        let axis = e.graph.ints(&[1]);
        let shapes = vec![vec![BATCH, 4, SMALL.hidden], vec![BATCH, 8, SMALL.hidden]];
        e.graph.with(
            "Split",
            &[&axis, &x],
            &[("_output_shapes", Attr::Shapes(shapes))],
        )
    };
    plan_task(parts, &[]).fails(4, &["Split", "--task-kind"]);
    let chosen: Pooling = |e| {
        let x = e.sequence_output(SMALL.hidden, -1);
        let g = &mut e.graph;
        let shapes = |axes: Vec<i64>| [("_output_shapes", Attr::Shapes(vec![axes]))];
        let shape = g.ints(&[36, 64]);
        let flat = g.with("Reshape", &[&x, &shape], &shapes(vec![BATCH * LENGTH, 64]));
        let positions = g.with("Placeholder", &[], &shapes(vec![BATCH * 2]));
        let axis = g.ints(&[0]);
        let found = g.op("GatherV2", &[&flat, &positions, &axis]);
        let shape = g.ints(&[3, 2, 64]);
        let found = g.with("Reshape", &[&found, &shape], &shapes(vec![BATCH, 2, 64]));
        tokens(g, &found, 0, 1, 2)
    };
    plan_task(chosen, &[]).fails(4, &["chosen position", "--model discriminator"]);
    // What is not understood can be stated.
    let unknown: Pooling = |e| {
        let x = e.layers.last().unwrap().clone();
        e.graph.op("Cumsum", &[&x])
    };
    plan_task(unknown, &[]).fails(4, &["Cumsum", "--task-kind"]);
    plan_task(unknown, &["--task-kind", "tagging"]).ok();
}

#[test]
fn a_graph_of_functions_that_call_themselves_ends() {
    let mut graph = graph(|| ORIGINAL);
    graph.function(
        "loop",
        &[("a", "loop", &["x"]), ("b", "loop", &["a:y:0"])],
        "b:y:0",
    );
    graph.with("PartitionedCall", &["1"], &[("f", Attr::Function("loop"))]);
    shows(&graph, "hidden_act", "gelu");
    let folder = temp();
    fs::write(folder.path().join("m.meta"), [0x12, 0x7f]).unwrap();
    discriminator(SMALL).write(&folder.path().join("m"));
    run!["inspect", folder.path()].fails(3, &["m.meta", "cut short"]);
}

/// Real training graphs (`fixtures/graphs`), each with the model to plan and what it must become: a
/// class with activation, epsilon and head count, or words of the refusal.
#[test]
fn graphs_of_real_code_are_understood() {
    type Outcome = Result<(&'static str, &'static str, f64, u64), &'static [&'static str]>;
    const PRE_TRAINING: &str = "ElectraForPreTraining";
    const MASKED_LM: &str = "ElectraForMaskedLM";
    const TOKENS: &str = "ElectraForTokenClassification";
    const SEQUENCE: &str = "ElectraForSequenceClassification";
    #[rustfmt::skip]
    let cases: &[(&str, &[&str], Outcome)] = &[
        ("conditional_dropout", &["discriminator"], Ok((PRE_TRAINING, "gelu", 1e-12, 4))),
        ("conditional_dropout", &["generator"], Ok((MASKED_LM, "gelu", 1e-12, 4))),
        ("deviation_plus_epsilon", &["discriminator"], Err(&["epsilon", "electra/embeddings_1/LayerNorm/truediv", "no Hugging Face class"])),
        ("einsum_attention", &["discriminator"], Ok((PRE_TRAINING, "gelu", 1e-12, 4))),
        ("elu", &["discriminator"], Err(&["electra/encoder/layer_0/intermediate/dense/Elu", "--hidden-act"])),
        ("elu", &["generator"], Err(&["generator/encoder/layer_0/intermediate/dense/Elu"])),
        ("first_token", &["finetuned"], Ok((SEQUENCE, "gelu", 1e-12, 4))),
        ("flat_tagging", &["finetuned"], Ok((TOKENS, "gelu", 1e-12, 1))),
        ("fused_layer_norm", &["discriminator"], Ok((PRE_TRAINING, "gelu", 1e-3, 4))),
        ("fused_layer_norm", &["generator"], Ok((MASKED_LM, "gelu", 1e-3, 4))),
        ("gelu_in_function", &["discriminator"], Ok((PRE_TRAINING, "gelu", 1e-12, 4))),
        ("layer_norm_1e-3", &["discriminator"], Ok((PRE_TRAINING, "gelu", 1e-3, 1))),
        ("layer_norm_1e-3", &["generator"], Ok((MASKED_LM, "gelu", 1e-3, 1))),
        ("linear", &["discriminator"], Ok((PRE_TRAINING, "linear", 1e-12, 1))),
        ("linear", &["generator"], Err(&["applies linear", "--allow-inexact"])),
        ("masked_mean", &["finetuned"], Err(&["mean or sum of several tokens", "--model discriminator"])),
        ("mean_pooling", &["finetuned"], Err(&["task_specific/sst/Mean", "--model discriminator"])),
        ("name_scope", &["discriminator"], Ok((PRE_TRAINING, "gelu", 1e-12, 4))),
        ("name_scope", &["generator"], Ok((MASKED_LM, "gelu", 1e-12, 4))),
        ("several_tasks", &["finetuned", "--task", "chunk"], Ok((TOKENS, "gelu", 1e-12, 1))),
        ("several_tasks", &["finetuned", "--task", "mnli"], Ok((SEQUENCE, "gelu", 1e-12, 1))),
        ("several_tasks", &["finetuned", "--task", "sst"], Ok((SEQUENCE, "gelu", 1e-12, 1))),
        ("several_tasks", &["finetuned", "--task", "sts"], Ok((SEQUENCE, "gelu", 1e-12, 1))),
        ("swish", &["discriminator"], Ok((PRE_TRAINING, "silu", 1e-12, 1))),
        ("swish", &["generator"], Err(&["applies silu", "--allow-inexact"])),
        ("tpu_loop", &["discriminator"], Ok((PRE_TRAINING, "gelu", 1e-12, 8))),
        ("tpu_loop", &["generator"], Ok((MASKED_LM, "gelu", 1e-12, 1))),
        ("unscaled_attention", &["discriminator"], Err(&["not scaled", "no Hugging Face class"])),
    ];
    for (name, model, outcome) in cases {
        let archive = testkit::fixture(&format!("graphs/{name}.zip"));
        let out = temp();
        let mut command = testkit::command(&[&"--dry-run", &"--json", &"--model"]);
        command.args(*model).args(["--vocab", "none"]);
        command.arg(&archive).arg(out.path().join("out"));
        let run = Run::from(command.output().unwrap());
        match outcome {
            Err(words) => _ = run.fails(4, words),
            Ok((class, activation, epsilon, heads)) => {
                let export = &run.ok().json()["exports"][0];
                assert_eq!(export["architecture"], *class, "{name}");
                let config = &export["config"];
                assert_eq!(config["hidden_act"], *activation, "{name}");
                assert_eq!(config["layer_norm_eps"], *epsilon, "{name}");
                assert_eq!(config["num_attention_heads"], *heads, "{name}");
                for key in ["hidden_act", "layer_norm_eps", "num_attention_heads"] {
                    assert_eq!(
                        export["config_sources"][key]["kind"], "meta_graph",
                        "{name}"
                    );
                }
            }
        }
    }
}

#[test]
fn outputs_of_a_head_are_not_pooled() {
    for op in ["Mean", "Max"] {
        let mut encoder = encoder(SMALL, 4, |_| ORIGINAL);
        let features = encoder.sequence_output(SMALL.hidden, -1);
        let g = &mut encoder.graph;
        let logits = g.dense(&features, "task_specific/intents/dense");
        let axis = g.ints(&[1]);
        g.op(op, &[&logits, &axis]);
        let (_folder, run) = plan_model("finetuned", &fine_tuned(), &encoder.graph, &[]);
        run.fails(4, &["pooled", "--model discriminator"]);
    }
}

#[test]
fn a_layer_in_an_unknown_spelling_is_not_a_default() {
    for kernel in [
        "intermediate/dense/kernel",
        "output/dense/kernel",
        "attention/self/query/kernel",
    ] {
        let mut graph = Graph::default();
        let kernel = graph.variable(&format!("electra/encoder/layer_0/{kernel}"));
        let x = graph.op("Placeholder", &[]);
        let equation = [("equation", Attr::Text("io,bsi->bso"))];
        graph.with("Einsum", &[&kernel, &x], &equation);
        refuses(&graph, &["m.meta", "layer_0", "multiply by its kernel"]);
    }
    let mut graph = Graph::default();
    let gamma = graph.variable("electra/embeddings/LayerNorm/gamma");
    graph.op("FusedLayerNorm", &["x", &gamma]);
    refuses(&graph, &["FusedLayerNorm", "--layer-norm-eps"]);
}

#[test]
fn references_to_absent_nodes_end_nothing() {
    let mut graph = graph(|| ORIGINAL);
    graph.named(
        "save",
        "SaveV2",
        &["prefix", "names", "slices", "absent"],
        &[],
    );
    let names = [("value", Attr::Strings(vec!["a".to_owned()]))];
    graph.named("names", "Const", &[], &names);
    let shape = graph.op("Pack", &["absent", "absent", "absent", "absent"]);
    graph.op("Reshape", &["absent", &shape]);
    shows(&graph, "hidden_act", "gelu");
}
