"""Checks what a release needs to agree: versions, toolchain, changelog, the list of published crates, addresses.

Usage: python3 scripts/check_metadata.py [--tag vX.Y.Z --repository URL] [--notes]
With --tag the changelog must have a date and each crate the address of the repository. --notes prints the part of
CHANGELOG.md about this version. Needs CPython 3.11 or newer and nothing else.
"""

import argparse
import re
import sys
import tomllib
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]


def manifest(path="."):
    return tomllib.loads((REPOSITORY / path / "Cargo.toml").read_text())


def version():
    """Returns the version of the program."""
    return manifest()["package"]["version"]


def published():
    """Returns the manifests of the crates that are published, by name."""
    places = [".", *sorted(path.parent.relative_to(REPOSITORY) for path in REPOSITORY.glob("crates/*/Cargo.toml"))]
    manifests = {one["package"]["name"]: one for one in map(manifest, places)}
    return {name: one for name, one in manifests.items() if one["package"].get("publish", True)}


def versions():
    """Yields every difference between versions, and dependencies that a registry would refuse."""
    crates = published()
    crates["electra-convert-python"] = manifest("python")
    for name, one in crates.items():
        if one["package"]["version"] != version():
            yield f"{name} has version {one['package']['version']}, electra-convert has {version()}"
        for other, dependency in one.get("dependencies", {}).items():
            if name in published() and isinstance(dependency, dict) and "path" in dependency:
                if dependency.get("version") != version():
                    yield f"{name} depends on {other} {dependency.get('version')}, expected {version()}"


def metadata():
    """Yields the fields that crates.io or docs.rs need and a manifest lacks."""
    needed = ("description", "license", "documentation", "readme", "keywords", "categories", "rust-version")
    for name, one in published().items():
        package = one["package"]
        for field in needed:
            if field not in package:
                yield f"{name}: `{field}` is missing in Cargo.toml"
        if not package.get("metadata", {}).get("docs", {}).get("rs"):
            yield f"{name}: `[package.metadata.docs.rs]` is missing in Cargo.toml"


def toolchains():
    """Yields the places that name another version of Rust than Cargo.toml."""
    rust = manifest()["workspace"]["package"]["rust-version"]
    places = {".github/workflows/*.yml": r'RUSTUP_TOOLCHAIN: "([^"]*)"', "Dockerfile": r"FROM rust:([0-9.]+)"}
    for pattern, expression in places.items():
        for path in REPOSITORY.glob(pattern):
            for found in re.findall(expression, path.read_text()):
                if found != rust:
                    yield f"{path.relative_to(REPOSITORY)} names Rust {found}, Cargo.toml {rust}"


def crates_of_the_script():
    """Yields the difference between the published crates and scripts/crates.sh."""
    listed = set(re.findall(r"-p (\S+?)[)\s]", (REPOSITORY / "scripts" / "crates.sh").read_text()))
    if listed != published().keys():
        yield f"scripts/crates.sh lists {sorted(listed)}, published are {sorted(published())}"


def newest_entry():
    """Returns the first heading of the changelog as version and date, and the text below it."""
    parts = re.split(r"^## (.*)$", (REPOSITORY / "CHANGELOG.md").read_text(), maxsplit=2, flags=re.MULTILINE)
    name, _, date = parts[1].partition(" - ")
    return name, date, parts[2].strip()


def changelog():
    name, _, text = newest_entry()
    if name != version():
        yield f"CHANGELOG.md begins with {name}, the version is {version()}"
    if not text:
        yield f"CHANGELOG.md does not mention {name}"


def tagged(tag, address):
    """Yields what is missing for the tag."""
    if tag != f"v{version()}":
        yield f"the tag is {tag}, expected v{version()}"
    _, date, _ = newest_entry()
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", date):
        yield f"CHANGELOG.md has {date or 'no date'} for {version()}, expected a date such as 2026-01-31"
    shared = manifest()["workspace"]["package"].get("repository")
    for name, one in published().items():
        found = one["package"].get("repository")
        found = shared if isinstance(found, dict) else found
        if found != address:
            yield f"{name}: `repository` in Cargo.toml is {found}, expected {address}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tag")
    parser.add_argument("--repository", metavar="URL")
    parser.add_argument("--notes", action="store_true")
    given = parser.parse_args()
    if given.notes:
        print(newest_entry()[2])
        return
    wrong = [*versions(), *metadata(), *toolchains(), *crates_of_the_script(), *changelog()]
    if given.tag:
        wrong += tagged(given.tag, given.repository)
    for line in wrong:
        print(line, file=sys.stderr)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
