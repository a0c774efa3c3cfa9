//! Lists of names in messages.

/// The number of names in one message; further names are counted.
const MAX_LISTED: usize = 6;

/// Lists the first names, and the number of further ones: `a, b, and 3 more`.
pub(crate) fn list<S: AsRef<str>>(names: &[S]) -> String {
    let (listed, rest) = names.split_at(names.len().min(MAX_LISTED));
    let listed: Vec<&str> = listed.iter().map(AsRef::as_ref).collect();
    match rest.len() {
        0 => listed.join(", "),
        more => format!("{}, and {more} more", listed.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_LISTED, list};

    #[test]
    fn names_beyond_the_limit_are_counted() {
        let names: Vec<String> = (0..MAX_LISTED + 2).map(|n| n.to_string()).collect();
        assert_eq!(list(&names[..2]), "0, 1");
        assert_eq!(list(&names[..MAX_LISTED]), "0, 1, 2, 3, 4, 5");
        assert_eq!(list(&names), "0, 1, 2, 3, 4, 5, and 2 more");
        assert_eq!(list::<String>(&[]), "");
    }
}
