#!/usr/bin/env python3
"""Open pages of --report in headless Chromium, and check them.

    scripts/check_report.py [--program PATH] [--chromium PATH] [--real CHECKPOINT] [--keep FOLDER]

Pages are made of fixtures/trained (both models, with --text), of a fine-tuned model, without verification, of an
export that was damaged (`verify` fails), and, with --real, of the checkpoint of scripts/make_real_checkpoint.py,
which has trained attention heads and Google's English vocabulary. Each is opened at widths of 360, 800 and 1400
pixels, in light and in dark, and printed:

- the browser requests the page and nothing else, and reports no error;
- no element is wider than the window, unless it scrolls in its own box;
- text has a contrast of 4.5 to 1 to its background;
- headings are in order, tables have headers, drawings have a title or are hidden from screen readers;
- every figure of --json is on the page;
- what is closed on the screen is on paper.

--keep writes screenshots and PDF files into FOLDER. Needs Debian's package chromium. Exits with 1 when a check fails.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from built_program import built_program
from chromium import Chromium

ROOT = Path(__file__).parent.parent
TEXT = ROOT / "fixtures/text/english.txt"
WIDTHS = (360, 800, 1400)
SCHEMES = ("light", "dark")

TOO_WIDE = """
(() => {
  const width = document.documentElement.clientWidth, found = [];
  if (document.documentElement.scrollWidth > width) found.push('the page');
  for (const element of document.body.querySelectorAll('*')) {
    if (element.closest('.scroll') && !element.matches('.scroll')) continue;
    const box = element.getBoundingClientRect();
    if (box.width > 0 && (box.right > width + 1 || box.left < -1)) found.push(element.outerHTML.slice(0, 80));
  }
  return found;
})()
"""
LOW_CONTRAST = """
(() => {
  const channels = colour => (colour.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(x => x / 255)
    .map(x => x <= .03928 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4)
    .reduce((sum, x, at) => sum + x * [.2126, .7152, .0722][at], 0);
  const behind = element => {
    for (let at = element; at; at = at.parentElement) {
      const colour = channels(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const found = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || element.closest('svg') || !element.checkVisibility()) continue;
    const [a, b] = [light(channels(getComputedStyle(element).color)), light(behind(element))];
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < 4.5) found.push(`${ratio.toFixed(2)}: ${element.outerHTML.slice(0, 80)}`);
  }
  return found;
})()
"""
STRUCTURE = """
(() => {
  const found = [];
  let level = 0;
  for (const heading of document.querySelectorAll('h1, h2, h3, h4')) {
    const next = Number(heading.tagName[1]);
    if (next > level + 1) found.push(`${heading.outerHTML} after h${level}`);
    level = next;
  }
  for (const svg of document.querySelectorAll('svg')) {
    const named = svg.getAttribute('role') === 'img' && svg.querySelector('title')?.textContent;
    if (!named && svg.getAttribute('aria-hidden') !== 'true') found.push(svg.outerHTML.slice(0, 80));
  }
  for (const header of document.querySelectorAll('th'))
    if (!header.scope) found.push(header.outerHTML);
  for (const table of document.querySelectorAll('table'))
    if (!table.closest('[aria-label]')) found.push('a table without a name');
  const ids = [...document.querySelectorAll('[id]')].map(element => element.id);
  if (new Set(ids).size !== ids.length) found.push('an id is there twice');
  if (document.querySelector('script, link, img, iframe')) found.push('a script or a link');
  return found;
})()
"""
VALUES = "[...document.querySelectorAll('data')].map(data => data.getAttribute('value'))"
HIDDEN = """
[...document.querySelectorAll('details > *:not(summary)')]
  .filter(element => !element.checkVisibility()).map(element => element.outerHTML.slice(0, 80))
"""


class Checks:
    """Prints what is wrong, and counts the checks."""

    def __init__(self):
        self.passed = 0
        self.failed = 0

    def check(self, wrong, what):
        if wrong:
            self.failed += 1
            print(f"WRONG {what}: {wrong[:5]}")
        else:
            self.passed += 1


def figures(document):
    """All numbers of a JSON document, as they are written."""
    if isinstance(document, dict):
        for key, value in document.items():
            if key not in ("format_version", "exit_code"):
                yield from figures(value)
    elif isinstance(document, list):
        for value in document:
            yield from figures(value)
    elif isinstance(document, Number):
        yield document.text


class Number:
    """A number with its digits."""

    def __init__(self, text):
        self.text = text


def run(program, *words, code=0):
    """Runs the program with --json; returns the document with its digits."""
    words = [str(word) for word in words]
    ran = subprocess.run([program, *words, "--json"], capture_output=True, text=True)
    if ran.returncode != code:
        sys.exit(f"{' '.join(words)} exits with {ran.returncode}: {ran.stderr}")
    return json.loads(ran.stdout, parse_int=Number, parse_float=Number)


def pages(program, folder, real):
    """Makes the pages; returns the documents with their names."""
    out = folder / "out"
    made = {}

    def convert(name, model, checkpoint, *more):
        page = ["--report", folder / f"{name}.html", "--force", *more]
        made[name] = run(program, "--model", model, checkpoint, out / name, *page)

    fixtures = ROOT / "fixtures"
    convert("trained", "both", fixtures / "trained", "--text", TEXT)
    convert("finetuned", "finetuned", fixtures / "ft_sst")
    convert("not-verified", "generator", fixtures / "trained", "--no-verify")
    damaged = folder / "damaged"
    shutil.copytree(out / "trained/generator", damaged)
    weights = damaged / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-4:] = b"\0\0\xc0\x7f"
    weights.write_bytes(data)
    page = ["--report", folder / "damaged.html"]
    made["damaged"] = run(program, "verify", damaged, *page, code=5)
    if real:
        convert("real", "discriminator", real)
    return made


def check_page(browser, checks, folder, name, document, keep):
    address = (folder / f"{name}.html").resolve().as_uri()
    for scheme in SCHEMES:
        for width in WIDTHS:
            where = f"{name}, {scheme}, {width} px"
            browser.show(width, scheme)
            browser.open(address)
            requests = [
                event["params"]["request"]["url"]
                for event in browser.events
                if event.get("method") == "Network.requestWillBeSent"
            ]
            checks.check([url for url in requests if url != address], f"{where}, requests")
            errors = ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown")
            found = [str(event) for event in browser.events if event.get("method") in errors]
            checks.check(found, f"{where}, messages")
            checks.check(browser.evaluate(TOO_WIDE), f"{where}, too wide")
            checks.check(browser.evaluate(LOW_CONTRAST), f"{where}, contrast")
            if keep:
                browser.screenshot(keep / f"{name}-{scheme}-{width}.png")
    checks.check(browser.evaluate(STRUCTURE), f"{name}, structure")
    values = set(browser.evaluate(VALUES))
    missing = sorted(set(figures(document)) - values)
    checks.check(missing, f"{name}, figures of --json that are not on the page")
    browser.show(800, "dark", "print")
    browser.open(address)
    checks.check(browser.evaluate(HIDDEN), f"{name}, hidden on paper")
    checks.check(browser.evaluate(LOW_CONTRAST), f"{name}, contrast on paper")
    pdf = browser.pdf()
    checks.check([] if pdf.startswith(b"%PDF") and len(pdf) > 10_000 else [len(pdf)], f"{name}, PDF")
    if keep:
        (keep / f"{name}.pdf").write_bytes(pdf)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", type=Path)
    parser.add_argument("--chromium", default="chromium")
    parser.add_argument("--real", type=Path)
    parser.add_argument("--keep", type=Path)
    arguments = parser.parse_args()
    program = arguments.program or built_program()
    if arguments.keep:
        arguments.keep.mkdir(parents=True, exist_ok=True)
    checks = Checks()
    with tempfile.TemporaryDirectory() as temporary, Chromium(arguments.chromium) as browser:
        folder = Path(temporary)
        for name, document in pages(program, folder, arguments.real).items():
            check_page(browser, checks, folder, name, document, arguments.keep)
    print(f"{checks.passed} checks passed, {checks.failed} failed")
    sys.exit(1 if checks.failed else 0)


if __name__ == "__main__":
    main()
