//! Numbers and lists of tokens in messages.

/// Formats a number with thousands separators: `30,522`.
pub(crate) fn grouped(n: usize) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Lists the first few tokens, quoted.
pub(super) fn listed<'a>(tokens: impl Iterator<Item = &'a str>) -> String {
    const SHOWN: usize = 5;
    let mut quoted: Vec<String> = tokens.take(SHOWN + 1).map(|t| format!("{t:?}")).collect();
    if quoted.len() > SHOWN {
        "…".clone_into(&mut quoted[SHOWN]);
    }
    quoted.join(", ")
}
