//! The boundaries of the real graphs in `fixtures/`, as a table that was reviewed by hand.

use std::fs;
use std::path::Path;

use super::describe;
use crate::config::graph::View;
use crate::verify::graph::boundary::find;
use crate::verify::graph::outputs::outputs;
use crate::{ElectraCheckpoint, Model, PlanOptions};

/// Describes the boundary of every output of a checkpoint, one block for each.
fn boundaries(path: &Path, name: &str) -> String {
    let checkpoint = ElectraCheckpoint::open(path).unwrap();
    let Some(graph) = checkpoint.checkpoint().meta_graph().unwrap() else {
        return String::new();
    };
    let view = View::new(&graph, checkpoint.inventory());
    let mut text = String::new();
    for model in checkpoint.setup().unwrap().models() {
        let tasks = checkpoint.inventory().tasks();
        let tasks: Vec<Option<&str>> = match model {
            Model::FineTuned => tasks.into_iter().map(Some).collect(),
            _ => vec![None],
        };
        for task in tasks {
            let mut options = PlanOptions {
                allow_unknown: true,
                allow_inexact: true,
                ..PlanOptions::default()
            };
            options.config.task = task.map(str::to_owned);
            let Ok(plan) = checkpoint.plan(model, &options) else {
                text.push_str(&format!("{name}, {}: no plan\n\n", model.key()));
                continue;
            };
            for (output, variable) in outputs(&plan) {
                let found = find(&view, plan.scopes, &variable);
                let found = describe(&view, &found);
                text.push_str(&format!("{name}, {}, {output}\n{found}\n", model.key()));
            }
        }
    }
    text
}

/// Describes the boundaries of the checkpoints in a directory.
fn boundaries_in(directory: &Path) -> String {
    let entries = fs::read_dir(directory).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let has_graph = |path: &&std::path::PathBuf| {
        let is_archive = path.extension().is_some_and(|extension| extension == "zip");
        let files = || fs::read_dir(path).into_iter().flatten().flatten();
        is_archive || files().any(|file| file.path().extension().is_some_and(|e| e == "meta"))
    };
    let described = paths.iter().filter(has_graph).map(|path| {
        let name = path.file_stem().unwrap().to_string_lossy();
        boundaries(path, &name)
    });
    described.collect()
}

#[test]
fn boundaries_of_the_fixtures() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let found = boundaries_in(&fixtures) + &boundaries_in(&fixtures.join("graphs"));
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!("boundaries", found));
}
