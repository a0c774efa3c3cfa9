//! The special tokens of BERT's vocabularies.

/// The padding token.
pub const PAD: &str = "[PAD]";
/// The token that replaces a masked token.
pub const MASK: &str = "[MASK]";
/// The token for a word that cannot be split into pieces of the vocabulary.
pub(crate) const UNK: &str = "[UNK]";
/// The first token of every input.
pub(crate) const CLS: &str = "[CLS]";
/// The token after each text.
pub(crate) const SEP: &str = "[SEP]";
/// The tokens that every vocabulary must have, each after its key in the configuration files.
pub(crate) const SPECIAL: [(&str, &str); 5] = [
    ("pad_token", PAD),
    ("unk_token", UNK),
    ("cls_token", CLS),
    ("sep_token", SEP),
    ("mask_token", MASK),
];

/// True for a special token.
pub(super) fn is_special(token: &str) -> bool {
    SPECIAL.iter().any(|(_, special)| *special == token)
}
