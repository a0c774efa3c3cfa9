//! What is in the files, and what was left out.

use super::figures::{bytes, count, shape};
use super::html::{Html, code, joined};
use super::table::{details, list, note, prose_table, section, table};
use crate::report::{FileReport, LeftOutReport, PlanReport};

/// The section of the variables that are not exported.
pub(super) fn left_out(id: &str, groups: &[LeftOutReport]) -> Html {
    let title = "Left out";
    if groups.is_empty() {
        let content = note("Nothing: every variable of the checkpoint is exported.");
        return section(&format!("{id}-left-out"), title, content);
    }
    let rows = groups.iter().map(|group| {
        [
            group.label.as_str().into(),
            count(group.variables, "variable"),
            bytes(group.bytes),
            group.reason.into(),
        ]
    });
    let headers = ["variables", "number", "size", "why"];
    let mut content = prose_table("Variables that are not exported", headers, rows);
    for group in groups {
        let summary = Html::from("Names: ").and(group.label.as_str());
        let names = group.names.iter().map(|name| code(name));
        content.add(details(summary, list(names)));
    }
    section(&format!("{id}-left-out"), title, content)
}

/// The section of the tensors, and of the files if there are any.
pub(super) fn contents(id: &str, plan: &PlanReport, files: &[FileReport]) -> Html {
    let mut content = Html::default();
    if !files.is_empty() {
        let rows = files
            .iter()
            .map(|file| [code(&file.path), bytes(file.bytes)]);
        content.add(table("Files", ["file", "size"], rows));
    }
    let rows = plan.tensors.iter().map(|tensor| {
        let variables = tensor.variables.iter().map(|name| code(name));
        let mut how = match tensor.recipe {
            "copy" => "copied".to_owned(),
            "transpose" => "transposed".to_owned(),
            recipe => recipe.replace('_', " "),
        };
        how.push_str(" from ");
        how.push_str(&tensor.from_dtype);
        if tensor.rounded {
            how.push_str(", rounded");
        }
        [
            code(&tensor.name),
            shape(&tensor.shape),
            tensor.dtype.as_str().into(),
            joined(variables, "<br>"),
            how.into(),
        ]
    });
    let headers = ["tensor", "shape", "type", "variable", "how"];
    let listed = table("Tensors", headers, rows);
    content.add(details(count(plan.tensors.len(), "tensor"), listed));
    section(&format!("{id}-contents"), "Files and tensors", content)
}
