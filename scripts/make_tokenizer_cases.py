#!/usr/bin/env python3
"""Write hard lines of text and the ids that transformers' own BertTokenizer gives them.

The result is in fixtures/tokenizer: two vocabularies that have every character of the text, alone
and as a continuation, and cases.json, against which `cargo test` compares our tokenizer. The slow
tokenizer, written in Python, is the reference, but for one thing: without lower-casing it composes
text first (NFC), which neither Google's tokenizer nor the fast one nor transformers 5 does. For
decomposed text the ids are the fast tokenizer's; anywhere else the two must agree.

Needs: pip install transformers==4.46.3
Example: scripts/make_tokenizer_cases.py fixtures/tokenizer
"""

import json
import random
import sys
import unicodedata
from pathlib import Path

from transformers import BertTokenizer, BertTokenizerFast

WORDS = """
café naïve façade résumé Ångström Übermut Straße GROẞ weiß ŒUVRE œuvre Æon ﬁne ﬂow ﬀ
İstanbul ısırgan DİYARBAKIR ığdır IŞIK ışık Iğdır i̇stanbul
北京 中文字 漢字かな交じり文 ひらがな カタカナ 한국어 조선말 㐀㐁 豈更車 𠀀𠀁
العربية مُحَمَّد لا إله السلام١٢٣ فارسی گچپژ عبرى עִבְרִית שלום
हिन्दी क्षत्रिय ज्ञान বাংলা தமிழ் తెలుగు ไทย ქართული Ελληνικά ΆΈΉ ς Σ Русский ё й Ё Й
😀 👍🏽 👨‍👩‍👧‍👦 🇩🇪 ☃️ ♥ ™ © № ½ ² ³ ⅷ Ⅷ
e\u0301 a\u0308 n\u0303 o\u0302\u0323 q\u0307\u0323 \u0301 \u1e9b\u0323
a\u200db a\u200cb \u200b \u00ad co\u00adop \ufeffbom \u2060 \u202eabc
tab\tbed line\u2028sep para\u2029sep nbsp\u00a0x ideographic\u3000space thin\u2009x
\x00nul bell\x07 esc\x1b[31m del\x7f \x85nel \ufffd replacement \ue000private \U000f0000
don't it's U.S.A. e-mail foo_bar $100 50% a@b.c #tag <s> [MASK] [CLS] [mask] [ MASK ] ##ing ##
-- – — … “quoted” ‘single’ «guillemets» „low“ 、。！？「」 ¿qué? ¡no! `tick` ~ ^ | \\ / * + = < >
0 1 12 123 1234 3.14 1,000,000 1e-12 0x1F ١٢٣ १२३ 一二三
ABC abc AbC aBc McDonald iPhone HELLO world the The THE running unbelievable antidisestablishmentarianism
""".split()

LINES = [
    "",
    " ",
    "\t\n",
    "The quick brown fox jumps over the lazy dog.",
    "   leading and trailing   ",
    "a" * 99,
    "a" * 100,
    "a" * 101,
    "a" * 199,
    "a" * 250,
    "é" * 60,
    "e\u0301" * 60,
    "中" * 50,
    "!" * 30,
    "x" * 40 + "-" + "y" * 70,
    "[CLS] the [MASK] sat [SEP] on [PAD] it [UNK]",
    "the[MASK]cat",
    "[MASK][MASK]",
    "[MASK ]",
    "mixed 中文 and English 漢字 text",
    "The café—naïve façade—costs €3.50… or £2?",
    "İSTANBUL'DA IŞIK VAR MI?",
    "GROSSE STRASSE, große Straße, GROẞE STRAẞE",
    "\u0065\u0301\u0065\u0301 versus \u00e9\u00e9",
    "zero\u200bwidth\u200cjoin\u200der",
]


def write_vocabulary(path, lower):
    """Special tokens, every character in every form, and some words."""
    text = " ".join(LINES + WORDS)
    text = text.lower() if lower else text + text.upper()
    characters = {
        c
        for form in ("NFC", "NFD")
        for c in unicodedata.normalize(form, text)
        if not c.isspace() and unicodedata.category(c) not in ("Cc", "Zl", "Zp")
    }
    words = {word for word in text.split() if word.isascii() and word.isalnum() and len(word) > 1}
    pieces = characters | words | {"##" + c for c in characters} | {"##ing", "##ed", "##s"}
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted(pieces)]
    path.write_text("\n".join(tokens) + "\n", encoding="utf-8")


def main():
    folder = Path(sys.argv[1])
    random.seed(7)
    lines = LINES + WORDS
    while len(lines) < 330:
        lines.append(" ".join(random.choices(WORDS, k=random.randint(2, 6))))
    result = {}
    for name, lower in [("lower", True), ("cased", False)]:
        vocabulary = folder / f"{name}.txt"
        write_vocabulary(vocabulary, lower)
        slow = BertTokenizer(str(vocabulary), do_lower_case=lower)
        fast = BertTokenizerFast(str(vocabulary), do_lower_case=lower)
        result[name] = []
        for line in lines:
            ids = slow.encode(line)
            if not lower and unicodedata.normalize("NFC", line) != line:
                ids = fast.encode(line)
            if ids != fast.encode(line):
                sys.exit(f"{name}: slow and fast differ on {line!r}")
            result[name].append(ids)
    cases = [
        {"text": line, "lower": lower, "cased": cased}
        for line, lower, cased in zip(lines, result["lower"], result["cased"])
    ]
    text = "[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n"
    (folder / "cases.json").write_text(text)
    print(f"{folder}: {len(cases)} lines")


if __name__ == "__main__":
    main()
