//! Which training steps of a run are converted.

/// The words that are understood, for errors.
const FORMS: &str = "expected steps (400), ranges with both ends (100..500, 100.., ..500) and every K-th step of a \
                     range (0..1000000:100000), separated by commas";

/// A set of training steps: steps and ranges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Steps {
    parts: Vec<Range>,
    /// The steps that were named one by one.
    named: Vec<u64>,
}

/// A range of steps, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    first: u64,
    last: u64,
    /// The distance between two steps, counted from `first`.
    stride: u64,
}

impl Steps {
    /// Parses `100,200..400,0..1000000:100000`. Ranges include both ends; one without a start begins at 0.
    ///
    /// ```
    /// use electra_convert::batch::Steps;
    ///
    /// let steps = Steps::parse("100000..1000000:100000")?;
    /// assert!(steps.contains(300_000) && !steps.contains(350_000));
    /// # Ok::<(), String>(())
    /// ```
    ///
    /// # Errors
    /// What is expected in place of other words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parts: Option<Vec<Range>> = text.split(',').map(|part| range(part.trim())).collect();
        let parts = parts.ok_or(FORMS)?;
        let single = parts.iter().filter(|part| part.first == part.last);
        let named = single.map(|part| part.first).collect();
        Ok(Self { parts, named })
    }

    /// Returns true for a step of the set.
    pub fn contains(&self, step: u64) -> bool {
        self.parts.iter().any(|part| {
            (part.first..=part.last).contains(&step)
                && (step - part.first).is_multiple_of(part.stride)
        })
    }

    /// Returns the steps that were named one by one, not by a range.
    pub fn named(&self) -> &[u64] {
        &self.named
    }
}

fn range(text: &str) -> Option<Range> {
    let number = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| text.parse().ok())?
    };
    let or = |text: &str, default| {
        if text.is_empty() {
            Some(default)
        } else {
            number(text)
        }
    };
    let Some((first, rest)) = text.split_once("..") else {
        let step = number(text)?;
        return Some(Range {
            first: step,
            last: step,
            stride: 1,
        });
    };
    let (last, stride) = match rest.split_once(':') {
        Some((last, stride)) => (last, number(stride)?),
        None => (rest, 1),
    };
    let (first, last) = (or(first, 0)?, or(last, u64::MAX)?);
    (stride > 0 && first <= last).then_some(Range {
        first,
        last,
        stride,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_and_ranges_are_understood() {
        for (text, within, without) in [
            ("400", &[400][..], &[0, 399, 401][..]),
            ("400, 800", &[400, 800], &[600]),
            ("100..300", &[100, 200, 300], &[99, 301]),
            ("100..", &[100, u64::MAX], &[99]),
            ("..300", &[0, 300], &[301]),
            ("..", &[0, u64::MAX], &[]),
            ("100..1000:100", &[100, 500, 1000], &[0, 150, 1100]),
            ("..:50", &[0, 50, 1000], &[25]),
            ("5,10..20:5", &[5, 10, 15, 20], &[6, 25]),
        ] {
            let steps = Steps::parse(text).unwrap();
            for step in within {
                assert!(steps.contains(*step), "{text}: {step}");
            }
            for step in without {
                assert!(!steps.contains(*step), "{text}: {step}");
            }
        }
        assert_eq!(Steps::parse("5,10..20,7").unwrap().named(), [5, 7]);
    }

    #[test]
    fn other_words_are_refused() {
        let long = "99999999999999999999";
        for text in [
            "", "x", "1,", "-1", "1..x", "1..2:0", "3..2", "1:2", "1..2:", "+5", long,
        ] {
            assert_eq!(Steps::parse(text).unwrap_err(), FORMS, "{text}");
        }
    }
}
