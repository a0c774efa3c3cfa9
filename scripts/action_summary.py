"""The step summary of action.yml: Markdown made of the JSON document of `electra-convert convert`.

Paths, names and messages come from files and inputs, so that every one of them is escaped: none of them can add
markup, a link or a row.
"""

import html
import re

# Characters with a meaning in GitHub's Markdown, and the control characters.
MARKUP = re.compile(r"[\x00-\x1f\x7f\\`*_{}\[\]()#+!|~@:.-]")

SETTINGS = ("num_attention_heads", "hidden_act", "layer_norm_eps")


def text(value):
    """Returns a value as Markdown that shows it literally, on one line."""
    line = " ".join(str(value).split())
    return MARKUP.sub(lambda found: f"&#{ord(found[0])};", html.escape(line))


def code(value):
    """Returns a value in the font of code."""
    return f"<code>{text(value)}</code>"


def table(heads, rows):
    """Returns a table of cells that are Markdown already."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines) + "\n"


def section(heading, lines):
    """Returns a list of lines under a heading, or nothing."""
    return f"### {heading}\n\n" + "".join(f"- {text(line)}\n" for line in lines) + "\n" if lines else ""


def made(export):
    """Returns the row of an export in the first table."""
    files = export.get("files") or []
    directory = re.sub(r"[/\\][^/\\]*$", "", files[0]["path"]) if files else None
    size = sum(file["bytes"] for file in files) or export["bytes"]
    return [
        text(export["model"]),
        code(export["architecture"]),
        f"{export['parameters']:,}",
        f"{size / 2**20:,.2f} MiB",
        code(export["dtype"]),
        code(directory) if directory else "not written",
    ]


def checked(export):
    """Returns the rows of an export in the table of checks: check and result."""
    verification = export.get("verification")
    if verification is None:
        return [["verification", "not run"]]
    classes, sums, heads = (verification[key] for key in ("classes", "checksums", "head_count"))
    loaded = sum(not one["missing"] and not one["mismatched"] for one in classes)
    equal = sum(sums[key] for key in ("against_index", "against_recorded", "by_value", "rounded", "computed"))
    rows = [
        ["all checks", "passed" if verification["passed"] else "**failed**"],
        ["classes", f"{len(classes)} of them load the encoder and run, {loaded} find all their tensors"],
        ["checksums", f"{equal} tensors equal to their variables, {sums['unchecked']} unchecked"],
        ["attention heads", text(f"{heads['configured']} in config.json, {heads['verdict']} by the weights")],
    ]
    graph = verification.get("graph")
    for output in graph["outputs"] if graph else []:
        figure = f"deviation {output['deviation']:.1e}, tolerance {output['tolerance']:.1e}"
        rows.append([f"training graph: {text(output['name'])}", figure])
    if not graph:
        rows.append(["training graph", "not compared"])
    tokenizer = verification.get("tokenizer")
    rows.append(["tokenizer", f"{tokenizer['tokens']:,} tokens" if tokenizer else "none"])
    return rows


def settings(export):
    """Returns the rows of the settings that no shape shows: name, value, source."""
    sources = export.get("config_sources", {})
    return [
        [code(name), code(export["config"][name]), text(f"{source['kind']}: {source['detail']}")]
        for name in SETTINGS
        if (source := sources.get(name))
    ]


def summary(document, checkpoint, exit_code):
    """Returns the summary of a conversion, or of its failure."""
    exports = document.get("exports", [])
    if document.get("status") == "failed" or not exports:
        verification = document.get("verification") or {}
        page = f"## Not converted: {code(checkpoint)}\n\nExit code {exit_code}.\n\n"
        page += f"<pre>{text_lines(document.get('error', 'no message'))}</pre>\n\n"
        return page + section("Checks that failed", verification.get("failures", []))
    verb = "Planned, not written" if document["status"] == "planned" else "Converted"
    page = f"## {verb}: {code(checkpoint)}\n\n"
    page += table(["model", "class", "parameters", "size", "dtype", "directory"], map(made, exports))
    for export in exports:
        model = text(export["model"])
        page += f"### Checks of the {model}\n\n" + table(["check", "result"], checked(export))
        page += f"### Settings of the {model}\n\n"
        page += table(["setting", "value", "source"], settings(export))
        page += section(f"Warnings for the {model}", export.get("warnings", []))
    return page


def text_lines(message):
    """Returns a message for a `pre` element, its lines kept."""
    return "\n".join(text(line) or "&#32;" for line in message.splitlines())
