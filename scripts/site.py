"""Builds the site from the documents of this repository with mdBook, and checks every link in it.

Usage: python3 scripts/site.py [--repository URL] OUT
MDBOOK names the program if it is not `mdbook`. Links to files that are no page lead to --repository; without it they
are text.
"""

import argparse
import os
import posixpath
import re
import shutil
import subprocess
import sys
import tempfile
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

REPOSITORY = Path(__file__).resolve().parents[1]

# Parts of the table of contents: title and pages.
PARTS = {
    None: {"README.md": "electra-convert"},
    "Start": {
        "docs/start-one-checkpoint.md": "One checkpoint",
        "docs/start-pipeline.md": "A CI pipeline",
        "docs/start-python.md": "From Python",
    },
    "Reference": {
        "docs/guide.md": "Guide",
        "docs/python.md": "Python",
        "docs/json.md": "JSON output",
        "docs/verification.md": "Verification",
        "docs/performance.md": "Time and memory",
        "docs/reliability.md": "Reliability",
    },
    "Crates": {
        "crates/tf-checkpoint/README.md": "tf-checkpoint",
        "crates/tf-graph/README.md": "tf-graph",
        "crates/tensor-bytes/README.md": "tensor-bytes",
        "crates/candle-electra/README.md": "candle-electra",
        "crates/remote-files/README.md": "remote-files",
    },
    "Project": {
        "CHANGELOG.md": "Changes",
        "SECURITY.md": "Security",
        "CONTRIBUTING.md": "Contributing",
    },
}
PAGES = {page: title for pages in PARTS.values() for page, title in pages.items()}
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")


def relinked(page, text, address):
    """Returns the text of a page in which links to files that are no page lead to the repository."""

    def replace(found):
        kind, name, target = found.groups()
        parts = urlsplit(target)
        if parts.scheme or not parts.path:
            return found[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(page), parts.path))
        if not (REPOSITORY / path).exists():
            sys.exit(f"{page}: the link to {target} leads nowhere")
        if path in PAGES and path.endswith("README.md"):
            # mdBook writes such a page to index.html.
            return f"[{name}]({target.replace('README.md', 'index.md')})"
        if kind or path in PAGES:
            return found[0]
        return f"[{name}]({address}/blob/main/{path})" if address else name

    return LINK.sub(replace, text)


def write_source(source, address):
    """Writes the pages, their pictures and the table of contents."""
    contents = ["# Summary\n"]
    for part, pages in PARTS.items():
        if part:
            contents.append(f"\n# {part}\n")
        for page, title in pages.items():
            text = (REPOSITORY / page).read_text()
            target = source / page
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(relinked(page, text, address))
            for picture in re.findall(r"!\[[^\]]*\]\(([^):\s]+)\)", text):
                shutil.copy(REPOSITORY / Path(page).parent / picture, target.parent)
            contents.append(f"{'- ' if part else ''}[{title}]({page})\n")
    (source / "SUMMARY.md").write_text("\n".join(contents))


class Parsed(HTMLParser):
    """The links and the anchors of an HTML file."""

    def __init__(self, text):
        super().__init__()
        self.links, self.anchors = [], set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name == "id":
                self.anchors.add(value)
            elif name in ("href", "src") and value:
                self.links.append(value)


def broken_links(site):
    """Yields each link of a page to a file or an anchor that does not exist."""
    pages = {path: Parsed(path.read_text()) for path in site.rglob("*.html")}
    for page, parsed in pages.items():
        # The page for addresses that do not exist has links from the root of the server.
        if page.name in ("404.html", "toc.html"):
            continue
        for link in parsed.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            target = target / "index.html" if target.is_dir() else target
            if not target.exists():
                yield f"{page.relative_to(site)}: {link}: no such file"
            elif parts.fragment and target in pages and parts.fragment not in pages[target].anchors:
                yield f"{page.relative_to(site)}: {link}: no such anchor"


def unlisted():
    """Yields documents that are no page of the site."""
    documents = {f"docs/{path.name}" for path in (REPOSITORY / "docs").glob("*.md")}
    documents |= {f"crates/{path.parent.name}/README.md" for path in REPOSITORY.glob("crates/*/README.md")}
    yield from sorted(documents - PAGES.keys())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repository", metavar="URL")
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    out = given.out.resolve()
    with tempfile.TemporaryDirectory() as book:
        source = Path(book, "src")
        source.mkdir()
        shutil.copy(REPOSITORY / "docs" / "book.toml", book)
        write_source(source, given.repository)
        subprocess.run([os.environ.get("MDBOOK", "mdbook"), "build", "--dest-dir", out, book], check=True)
    wrong = [*(f"{page} is not in scripts/site.py" for page in unlisted()), *broken_links(out)]
    for line in wrong:
        print(line, file=sys.stderr)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
