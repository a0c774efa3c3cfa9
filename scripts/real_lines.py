"""Lines of text on which two tokenizers are compared, the same in every run."""

import random
import unicodedata

SENTENCES = [
    "Hello World, the Quick BROWN fox café",
    "The quick brown fox jumps over the lazy dog.",
    "the [MASK] of the function .",
    "[CLS] It's [SEP] unusual to write [UNK], [PAD] or [unused12] by hand.",
    "He said: “don’t!” — and left…",
    "U.S.A. 3.14 $5,000.00 50% #tag @name a/b\\c x^2 _under_score_ `code` ~1 |x| <b>",
    "https://example.org/path?query=1&other=2#fragment user.name+tag@example.org",
    "def f(x): return {'a': [1, 2.5e-3]} == None  # TODO",
    "İstanbul Iı ß ẞ ﬁne ﬃ ǅ Å Ω ℝ µ Σίσυφος",
    "北京 漢字 한국어 日本語のテキスト が パ",
    "العربية עִבְרִית हिन्दी ภาษาไทย Русский Ιστορία",
    "😀 👩\u200d💻 🇩🇪 ❤\ufe0f ©®™ 𠀀🧠brain",
    "a\tb\u00a0c\u2003d\u3000e \u200b\u00ad e\u0301 n\u0303o\u0302",
    "\ufeffbyte order mark \ufffd replacement \x00 null \x07 bell \x1b escape \x7f delete \x85 next",
    "line\r\nbreaks\nand\rreturns\x0b\x0cand\u2028more\u2029",
    "",
    " ",
    "\t\n",
    "...!!!???---",
    "pneumonoultramicroscopicsilicovolcanoconiosis antidisestablishmentarianism",
    "1234567890 0x1F 1e-12 ½ ² ① Ⅷ ٣٤ １２",
]
# A word of more than 100 characters is one [UNK] to Hugging Face's tokenizers.
LENGTHS = (33, 34, 99, 100, 101, 201)
LONG_WORDS = [letter * length for letter in ("a", "the", "é") for length in LENGTHS]
# Ranges of characters, from which words are drawn.
ALPHABETS = {
    "ASCII": [(0x20, 0x7E)],
    "lower and upper case": [(0x41, 0x5A), (0x61, 0x7A)],
    "Latin with accents": [(0x61, 0x7A), (0xC0, 0x17F), (0x1E00, 0x1EFF)],
    "combining marks": [(0x61, 0x7A), (0x300, 0x36F)],
    "Greek and Cyrillic": [(0x370, 0x3FF), (0x400, 0x4FF)],
    "Hebrew and Arabic": [(0x5D0, 0x5EA), (0x620, 0x64A)],
    "Devanagari and Thai": [(0x904, 0x939), (0x93E, 0x94D), (0xE01, 0xE3A)],
    "CJK": [(0x4E00, 0x9FFF), (0x3400, 0x4DBF)],
    "kana": [(0x3041, 0x3096), (0x30A1, 0x30FA)],
    "Hangul": [(0xAC00, 0xD7A3)],
    "emoji": [(0x1F600, 0x1F64F), (0x2600, 0x26FF)],
    "punctuation and symbols": [(0x21, 0x2F), (0x2010, 0x2027), (0x20A0, 0x20BF), (0x2190, 0x21FF)],
    "control characters": [(0x61, 0x7A), (0x00, 0x1F), (0x7F, 0x9F), (0x200B, 0x200F)],
}
LINES_OF_EACH = 20


def characters(ranges):
    """Returns the assigned characters: the slow tokenizers drop the others, the fast ones keep them."""
    found = [chr(code) for first, last in ranges for code in range(first, last + 1)]
    return [character for character in found if unicodedata.category(character) != "Cn"]


def lines():
    """Returns the fixed lines, and random ones of each alphabet and of all of them together."""
    generator = random.Random(0)
    found = SENTENCES + LONG_WORDS
    alphabets = {name: characters(ranges) for name, ranges in ALPHABETS.items()}
    alphabets["all together"] = sorted(set().union(*alphabets.values()))
    for alphabet in alphabets.values():
        for _ in range(LINES_OF_EACH):
            words = generator.randint(1, 8)
            found.append(
                " ".join(
                    "".join(generator.choices(alphabet, k=generator.randint(1, 12)))
                    for _ in range(words)
                )
            )
    return found
