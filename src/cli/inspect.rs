//! `electra-convert inspect CKPT`.

use std::collections::BTreeMap;

use electra_convert::plan::Weights;
use electra_convert::variables::{InventoryEntry, Role};
use electra_convert::{Model, PlanOptions, Source};
use serde_json::{Value, json};

use super::args::{InspectArgs, SourceArgs};
use super::convert::{open, stated};
use super::report;
use super::text::{self, FAINT, HEADING, bytes, columns, count};

/// Shows what is in a checkpoint.
pub(crate) fn run(args: &InspectArgs) -> anyhow::Result<()> {
    let source = open(&args.source)?;
    let options = PlanOptions {
        stated: stated(&args.stated)?,
        allow_unknown: args.stated.allow_unknown,
        weights: args.stated.weights.into(),
        // Looking is no export; the list says what an export would be refused for.
        ..PlanOptions::default()
    };
    let items: Vec<&InventoryEntry> = source
        .inventory()
        .items()
        .iter()
        .filter(|item| {
            args.grep
                .as_ref()
                .is_none_or(|regex| regex.is_match(&item.variable.name))
        })
        .collect();
    if args.json {
        report::print_json(&json(args, &source, &options, &items)?)?;
    } else {
        report::print_text(&text(args, &source, &options, &items)?)?;
    }
    Ok(())
}

fn json(
    args: &InspectArgs,
    source: &Source,
    options: &PlanOptions,
    items: &[&InventoryEntry],
) -> anyhow::Result<Value> {
    let models: Vec<Value> = choices(source, options)
        .into_iter()
        .map(|(model, options)| match source.plan(model, &options) {
            Ok(plan) => json!({
                "model": model.key(),
                "task": plan.task.as_ref().map(|task| &task.name),
                "architecture": plan.head.name(),
                "tensors": plan.tensors.len(),
                "parameters": plan.parameters(),
                "bytes": plan.bytes(),
                "config": plan.config(),
                "command": command(model, &options, &args.source),
            }),
            Err(error) => json!({
                "model": model.key(),
                "task": options.stated.task,
                "error": error.to_string(),
            }),
        })
        .collect();
    let roles: Vec<Value> = by_role(source.inventory().items())
        .into_iter()
        .map(|(role, sums)| {
            json!({
                "role": role.key(),
                "variables": sums.variables,
                "elements": sums.elements,
                "bytes": sums.bytes,
            })
        })
        .collect();
    Ok(json!({
        "format_version": report::FORMAT_VERSION,
        "command": "inspect",
        "status": "inspected",
        "checkpoint": report::checkpoint_json(source, source.step()?),
        "models": models,
        "roles": roles,
        "variables": items.iter().map(|item| variable_json(source, item)).collect::<Vec<_>>(),
    }))
}

fn variable_json(source: &Source, item: &InventoryEntry) -> Value {
    let checkpoint = source.checkpoint();
    let variable = &item.variable;
    let pieces: Vec<Value> = variable
        .pieces
        .iter()
        .map(|piece| {
            let path = checkpoint
                .location()
                .data_path(piece.shard, checkpoint.shard_count());
            json!({
                "file": path.file_name().map(|name| name.to_string_lossy()),
                "offset": piece.extent.map(|extent| extent.offset),
                "bytes": piece.len,
                "crc32c": piece.extent.map(|extent| format!("{:08x}", extent.crc32c)),
                "slice": piece.slice.as_ref().map(|ranges| {
                    ranges.iter().map(|r| [r.start, r.end]).collect::<Vec<_>>()
                }),
            })
        })
        .collect();
    json!({
        "name": variable.name,
        "renamed": (item.name != variable.name).then_some(&item.name),
        "dtype": variable.dtype.to_string(),
        "shape": variable.shape,
        "bytes": variable.bytes(),
        "role": item.role.key(),
        "average_of": item.average_of,
        "pieces": pieces,
    })
}

fn text(
    args: &InspectArgs,
    source: &Source,
    options: &PlanOptions,
    items: &[&InventoryEntry],
) -> anyhow::Result<String> {
    let mut out = String::new();
    if !args.variables && args.grep.is_none() {
        out.push_str(&overview(args, source, options)?);
    } else {
        out.push_str(&format!(
            "{HEADING}{} of {}{HEADING:#}\n",
            count(items.len(), "variable"),
            source.inventory().items().len()
        ));
        let rows: Vec<[String; 5]> = items
            .iter()
            .map(|item| {
                [
                    item.variable.name.clone(),
                    item.variable.dtype.to_string(),
                    format!("{:?}", item.variable.shape),
                    item.variable.bytes().to_string(),
                    item.role.to_string(),
                ]
            })
            .collect();
        out.push_str(&columns(3, &rows));
    }
    Ok(out)
}

fn overview(args: &InspectArgs, source: &Source, options: &PlanOptions) -> anyhow::Result<String> {
    let mut out = format!("{HEADING}{}{HEADING:#}\n", report::checkpoint_name(source));
    out.push_str(&format!(
        "  {}\n",
        report::checkpoint_line(source, source.step()?)
    ));
    match source.setup() {
        Ok(setup) => out.push_str(&format!("  holds {}\n", setup.description())),
        Err(error) => out.push_str(&format!("  {}\n", text::printable(&error.to_string()))),
    }
    let unreadable: Vec<_> = source
        .checkpoint()
        .variables()
        .iter()
        .filter_map(|variable| source.checkpoint().check_present(variable).err())
        .collect();
    if let Some(error) = unreadable.first() {
        let error = error.to_string();
        out.push_str(&format!(
            "  {} cannot be read: {}\n",
            count(unreadable.len(), "variable"),
            text::printable(&error)
        ));
    }

    if source.setup().is_ok() {
        out.push_str(&text::heading("Models"));
        for (model, options) in choices(source, options) {
            out.push_str(&about_model(args, source, &options, model));
        }
    }

    out.push_str(&text::heading("Variables"));
    let rows: Vec<[String; 4]> = by_role(source.inventory().items())
        .into_iter()
        .map(|(role, sums)| {
            [
                role.to_string(),
                count(sums.variables, "variable"),
                count(sums.elements, "element"),
                bytes(sums.bytes),
            ]
        })
        .collect();
    out.push_str(&columns(1, &rows));
    out.push_str(&format!("  {FAINT}--variables lists them all{FAINT:#}\n"));
    Ok(out)
}

fn about_model(args: &InspectArgs, source: &Source, options: &PlanOptions, model: Model) -> String {
    let plan = match source.plan(model, options) {
        Ok(plan) => plan,
        Err(error) => return columns(2, &[[model.to_string(), error.to_string()]]),
    };
    let task = plan.task.as_ref();
    let origin = |key| plan.resolved.sources[key].to_string();
    let parameters = count(plan.parameters(), "parameter");
    let rows = task.map(|task| report::task_line(task, &plan)).into_iter();
    let rows = rows.chain([
        report::sizes_line(&plan),
        format!("heads from {}", origin("num_attention_heads")),
        format!("{} from {}", plan.config().hidden_act, origin("hidden_act")),
        command(model, options, &args.source),
    ]);
    let first = [model.to_string(), parameters];
    let rest = rows.map(|row| [" ".repeat(model.noun().len()), row]);
    columns(2, &std::iter::once(first).chain(rest).collect::<Vec<_>>())
}

/// What can be asked for: both models of pre-training, and each task of a fine-tuned checkpoint.
fn choices(source: &Source, options: &PlanOptions) -> Vec<(Model, PlanOptions)> {
    let mut choices: Vec<_> = Model::BOTH.map(|model| (model, options.clone())).into();
    let tasks = source.inventory().tasks();
    if tasks.is_empty() {
        return choices;
    }
    if options.stated.task.is_some() || tasks.len() == 1 {
        choices.push((Model::FineTuned, options.clone()));
        return choices;
    }
    for task in tasks {
        let mut options = options.clone();
        options.stated.task = Some(task.to_owned());
        choices.push((Model::FineTuned, options));
    }
    choices
}

#[derive(Default)]
struct TensorChecksums {
    variables: usize,
    elements: usize,
    bytes: u64,
}

fn by_role(items: &[InventoryEntry]) -> BTreeMap<Role, TensorChecksums> {
    let mut sums: BTreeMap<Role, TensorChecksums> = BTreeMap::new();
    for item in items {
        let sums = sums.entry(item.role).or_default();
        sums.variables += 1;
        sums.elements = sums.elements.saturating_add(item.variable.elements());
        sums.bytes = sums.bytes.saturating_add(item.variable.bytes());
    }
    sums
}

/// The command that exports a model of this checkpoint.
fn command(model: Model, options: &PlanOptions, args: &SourceArgs) -> String {
    let mut command = format!("electra-convert --model {}", model.key());
    if let (Model::FineTuned, Some(task)) = (model, &options.stated.task) {
        command.push_str(&format!(" --task {}", text::shell_quoted(task.as_ref())));
    }
    if options.weights == Weights::Average {
        command.push_str(&format!(" --weights {}", options.weights.key()));
    }
    if let Some(step) = args.step {
        command.push_str(&format!(" --step {step}"));
    }
    for rename in &args.rename {
        let rename = text::shell_quoted(rename.to_string().as_ref());
        command.push_str(&format!(" --rename {rename}"));
    }
    let path = args.checkpoint.as_deref().expect("clap requires it");
    format!("{command} {} OUT", text::shell_quoted(path.as_os_str()))
}
