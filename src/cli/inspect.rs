//! The command `inspect`.

use crate::PlanOptions;
use crate::plan::Weights;
use crate::report::{
    Command, Document, ExportableModel, GraphOutputReport, InspectionReport, ModelReport, Status,
};
use tf_checkpoint::address::without_query;

use super::args::{InspectArgs, SourceArgs};
use super::caller::Caller;
use super::convert::open;
use super::report;
use super::settings::stated;
use super::text::{self, FAINT, HEADING, bytes, columns, count, printable};

/// Shows what is in a checkpoint.
pub(crate) fn run(args: &InspectArgs, caller: &Caller<'_>) -> anyhow::Result<()> {
    let source = open(&args.source, &*caller.progress(args.json, None))?;
    let options = PlanOptions {
        config: stated(&args.stated)?,
        allow_unknown: args.stated.allow_unknown,
        weights: args.stated.weights.into(),
        ..PlanOptions::default()
    };
    let is_listed = |name: &str| args.grep.as_ref().is_none_or(|regex| regex.is_match(name));
    let mut report = InspectionReport::new(&source, &options, is_listed, args.graph)?;
    for model in &mut report.models {
        if let Some(export) = &mut model.export {
            let task = model.task.as_deref().filter(|_| export.task.is_some());
            export.command = Some(command(model.model, task, &options, &args.source));
        }
    }
    if args.json {
        caller.document(&Document::new(Command::Inspect, Status::Inspected, report))
    } else if args.variables || args.grep.is_some() {
        report::print_text(&variables(&report))
    } else {
        report::print_text(&overview(&report))
    }
}

/// The listed variables.
fn variables(report: &InspectionReport) -> String {
    let mut out = format!(
        "{HEADING}{} of {}{HEADING:#}\n",
        count(report.variables.len(), "variable"),
        report.variable_count
    );
    let rows: Vec<[String; 5]> = report
        .variables
        .iter()
        .map(|variable| {
            [
                variable.name.clone(),
                variable.dtype.clone(),
                format!("{:?}", variable.shape),
                variable.bytes.to_string(),
                variable.role_label.clone(),
            ]
        })
        .collect();
    out.push_str(&columns(3, &rows));
    out
}

/// The checkpoint, its models, and its variables by role.
fn overview(report: &InspectionReport) -> String {
    let checkpoint = &report.checkpoint;
    let mut out = format!("{HEADING}{}{HEADING:#}\n", printable(&checkpoint.prefix));
    out.push_str(&format!("  {}\n", report::checkpoint_line(checkpoint)));
    if let Some(description) = checkpoint.description {
        out.push_str(&format!("  holds {description}\n"));
    }
    if let Some(error) = &report.not_electra {
        out.push_str(&format!("  {}\n", printable(error)));
    }
    if let Some((number, first)) = &report.unreadable {
        let number = count(*number, "variable");
        out.push_str(&format!(
            "  {number} cannot be read: {}\n",
            printable(first)
        ));
    }
    if report.not_electra.is_none() {
        out.push_str(&text::heading("Models"));
        for model in &report.models {
            out.push_str(&about_model(model));
        }
    }
    out.push_str(&text::heading("Variables"));
    let rows: Vec<[String; 4]> = report
        .roles
        .iter()
        .map(|role| {
            [
                role.label.clone(),
                count(role.variables, "variable"),
                count(role.elements, "element"),
                bytes(role.bytes),
            ]
        })
        .collect();
    out.push_str(&columns(1, &rows));
    out.push_str(&format!("  {FAINT}--variables lists them all{FAINT:#}\n"));
    out
}

fn about_model(model: &ModelReport) -> String {
    let name = match model.model {
        "finetuned" => "fine-tuned model",
        name => name,
    };
    let export = match (&model.export, &model.error) {
        (Some(export), _) => export,
        (None, error) => {
            let error = error.clone().unwrap_or_default();
            return columns(2, &[[name.to_owned(), error]]);
        }
    };
    let parameters = count(export.parameters, "parameter");
    let rest = details(export).into_iter();
    let rest = rest.map(|row| [" ".repeat(name.len()), row]);
    let rows: Vec<_> = std::iter::once([name.to_owned(), parameters])
        .chain(rest)
        .collect();
    columns(2, &rows)
}

fn details(export: &ExportableModel) -> Vec<String> {
    let origin = |key| report::source_line(&export.config_sources[key]);
    let task = export.task.as_ref();
    let mut rows: Vec<String> = task
        .map(|task| report::task_line(task, &export.config))
        .into_iter()
        .collect();
    rows.push(report::sizes_line(&export.config));
    rows.push(format!(
        "attention heads from {}",
        origin("num_attention_heads")
    ));
    rows.push(format!(
        "{} from {}",
        export.config.hidden_act,
        origin("hidden_act")
    ));
    rows.extend(export.command.clone());
    rows.extend(export.graph.iter().flatten().flat_map(about_graph));
    rows
}

/// What the comparison with the training graph evaluates of one output.
fn about_graph(output: &GraphOutputReport) -> Vec<String> {
    let name = &output.name;
    let Some(part) = &output.part else {
        let node = output.node.as_ref().map(|node| format!("{node}: "));
        let reason = output.reason.as_deref().unwrap_or_default();
        let node = node.unwrap_or_default();
        return vec![printable(&format!("{name} cannot be evaluated: {node}{reason}")).to_string()];
    };
    let any = |size: Option<usize>| size.map_or("any".to_owned(), |size| size.to_string());
    let mut rows = vec![
        format!(
            "{name}: {} of the training graph",
            count(part.nodes, "node")
        ),
        format!(
            "  batch {}, sequence length {}",
            any(part.batch),
            any(part.length)
        ),
        format!("  read at {}", part.output),
    ];
    let fed = [
        ("token ids", &part.ids),
        ("token types", &part.types),
        ("position ids", &part.position_ids),
        ("attention mask", &part.masks),
        ("chosen positions", &part.positions),
    ];
    for (what, tensors) in fed.into_iter().filter(|(_, tensors)| !tensors.is_empty()) {
        rows.push(format!("  {what} fed at {}", tensors.join(", ")));
    }
    rows.iter().map(|row| printable(row).to_string()).collect()
}

/// The command that exports a model of this checkpoint.
fn command(model: &str, task: Option<&str>, options: &PlanOptions, args: &SourceArgs) -> String {
    let mut command = format!("electra-convert --model {model}");
    if let Some(task) = task {
        command.push_str(&format!(" --task {}", text::shell_quoted(task.as_ref())));
    }
    if options.weights == Weights::Average {
        command.push_str(&format!(" --weights {}", options.weights.key()));
    }
    if let Some(step) = args.step {
        command.push_str(&format!(" --step {step}"));
    }
    for rename in &args.reading.rename {
        let rename = text::shell_quoted(rename.to_string().as_ref());
        command.push_str(&format!(" --rename {rename}"));
    }
    let path = args.checkpoint.as_deref().expect("clap requires it");
    let path = without_query(path);
    format!("{command} {} OUT", text::shell_quoted(path.as_os_str()))
}
