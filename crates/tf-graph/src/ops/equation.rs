//! The equation of an `Einsum`, such as `abc,cd->abd`.

use crate::failure::{Failure, invalid, unsupported};
use crate::meter::MAX_RANK;

/// The most characters of an equation.
const MAX_EQUATION: usize = 256;

/// Returns the labels of each operand and of the result.
pub(super) fn parse(
    equation: &str,
    ranks: &[usize],
) -> Result<(Vec<Vec<char>>, Vec<char>), Failure> {
    let malformed = || Failure::Invalid(format!("the equation \"{equation}\" is malformed"));
    let text: String = equation
        .chars()
        .filter(|c| *c != ' ')
        .take(MAX_EQUATION)
        .collect();
    let (operands, result) = text.split_once("->").ok_or_else(malformed)?;
    let operands: Vec<&str> = operands.split(',').collect();
    if operands.len() != ranks.len() {
        return invalid(format!(
            "the equation \"{equation}\" does not fit {} inputs",
            ranks.len()
        ));
    }
    let mut covered_most = 0;
    let mut labels = Vec::new();
    for (operand, &rank) in std::iter::zip(operands, ranks) {
        let named = operand.replace("...", "").chars().count();
        let covered = if operand.contains("...") {
            rank.checked_sub(named)
        } else {
            (rank == named).then_some(0)
        };
        let covered = covered.ok_or_else(|| {
            let message = format!("\"{operand}\" of \"{equation}\" does not fit {rank} axes");
            Failure::Invalid(message)
        })?;
        covered_most = covered.max(covered_most);
        labels.push(expand(operand, covered).ok_or_else(malformed)?);
    }
    let result = expand(result, covered_most).ok_or_else(malformed)?;
    let all: Vec<char> = labels.concat();
    if !result.iter().all(|label| all.contains(label)) {
        return Err(malformed());
    }
    if (1..result.len()).any(|at| result[at..].contains(&result[at - 1])) {
        return unsupported(format!(
            "a label is repeated in the result of \"{equation}\""
        ));
    }
    Ok((labels, result))
}

/// Replaces the ellipsis by labels; `None` if other characters than letters remain.
fn expand(operand: &str, covered: usize) -> Option<Vec<char>> {
    let (before, after) = operand.split_once("...").unwrap_or((operand, ""));
    if !before.chars().chain(after.chars()).all(char::is_alphabetic) {
        return None;
    }
    let covered = if operand.contains("...") { covered } else { 0 };
    let covered: String = (0..covered)
        .rev()
        .map(covered_label)
        .collect::<Option<_>>()?;
    Some([before, &covered, after].concat().chars().collect())
}

/// Returns the label of an axis under the ellipsis, counted from the end: a circled number.
fn covered_label(axis: usize) -> Option<char> {
    char::from_u32(0x2460 + u32::try_from(axis.min(MAX_RANK)).ok()?)
}
