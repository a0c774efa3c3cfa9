//! Figures. Each is an element `data`, whose value is the figure as JSON has it.

use serde::Serialize;

use super::html::{Html, element};

/// Shows a figure of a report in some other form.
pub(super) fn figure(value: impl Serialize, shown: String) -> Html {
    let value = serde_json::to_string(&value).expect("a number");
    element("data", &[("value", &value)], shown)
}

/// `507,649`.
pub(super) fn integer(n: impl Serialize + ToString) -> Html {
    let shown = grouped(&n.to_string());
    figure(n, shown)
}

/// `1 tensor`, `2 tensors`.
pub(super) fn count(n: usize, noun: &str) -> Html {
    let s = if n == 1 { "" } else { "s" };
    integer(n).and(format!(" {noun}{s}"))
}

/// `1.94 MiB`.
pub(super) fn bytes(n: u64) -> Html {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    #[allow(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut size = n as f64;
    let mut unit = "B";
    for larger in UNITS {
        if size < 1024.0 {
            break;
        }
        size /= 1024.0;
        unit = larger;
    }
    let shown = if unit == "B" {
        format!("{n}\u{a0}B")
    } else {
        format!("{size:.2}\u{a0}{unit}")
    };
    figure(n, shown)
}

/// `1.2e-7`.
pub(super) fn scientific<T: Serialize + std::fmt::LowerExp>(x: T) -> Html {
    let shown = match format!("{x:.1e}") {
        zero if zero == "0.0e0" => "0".to_owned(),
        shown => shown,
    };
    figure(x, shown)
}

/// `0.51 s`.
pub(super) fn seconds(x: f64) -> Html {
    figure(x, format!("{x:.2} s"))
}

/// `97.5 %`.
pub(super) fn percent(share: f64) -> Html {
    figure(share, format!("{:.1} %", share * 100.0))
}

/// A number in as many digits as it needs, `decimals` after the point.
pub(super) fn decimal(x: f64, decimals: usize) -> Html {
    figure(x, format!("{x:.decimals$}"))
}

/// `128 × 64`.
pub(super) fn shape(sizes: &[usize]) -> Html {
    if sizes.is_empty() {
        return "scalar".into();
    }
    super::html::joined(sizes.iter().map(|&size| integer(size)), "\u{a0}×\u{a0}")
}

/// Puts a comma between groups of three digits.
pub(super) fn grouped(digits: &str) -> String {
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_the_value_of_json() {
        let html = |html: Html| html.into_string();
        assert_eq!(
            html(integer(507_649)),
            r#"<data value="507649">507,649</data>"#
        );
        assert_eq!(
            html(scientific(1.192_092_9e-7_f32)),
            r#"<data value="1.1920929e-7">1.2e-7</data>"#
        );
        assert_eq!(html(scientific(0.0_f32)), r#"<data value="0.0">0</data>"#);
        assert_eq!(
            html(bytes(2_034_000)),
            r#"<data value="2034000">1.94 MiB</data>"#
        );
        assert_eq!(html(bytes(12)), r#"<data value="12">12 B</data>"#);
        assert_eq!(html(count(1, "row")), r#"<data value="1">1</data> row"#);
        assert_eq!(grouped("100"), "100");
        assert_eq!(grouped("1000000"), "1,000,000");
    }
}
