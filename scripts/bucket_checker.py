"""Calls of the program, and their comparison with the same calls on files on the disk, for check_buckets.py."""

import json
import re
import subprocess
import tempfile
import threading
from pathlib import Path

from bucket_files import DISCRIMINATOR, UNUSUAL, UNUSUAL_IN_URL
from bucket_servers import quiet_environment

# The longest time in seconds of a call that succeeds, and of one that is refused.
LIMIT, REFUSAL_LIMIT = 60, 10
# Stands for the directory of the checkpoints, or its URL.
ROOT = "ROOT"


class Run:
    """One call of the program in an empty directory, and what it wrote."""

    def __init__(self, program, arguments, environment, limit):
        with tempfile.TemporaryDirectory() as folder:
            try:
                ended = subprocess.run(
                    [program, *arguments],
                    env=environment,
                    cwd=folder,
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    text=True,
                    timeout=limit,
                )
                self.code, self.out, self.error = ended.returncode, ended.stdout, ended.stderr
            except subprocess.TimeoutExpired as late:
                self.code, self.out = None, ""
                self.error = f"still running after {limit} s; {(late.stderr or b'').decode()}"
            below = Path(folder)
            self.files = {
                path.relative_to(below).as_posix(): path.read_bytes() for path in below.rglob("*") if path.is_file()
            }

    def document(self, places):
        """Returns the document of --json without times, and with the same words for the same places.

        A directory on the disk has others above it, where a vocabulary is looked for too.
        """
        text = re.sub(r" \(looked for [^)]*\)", "", self.out)
        for place, word in places.items():
            text = text.replace(place, word)
        try:
            return json.loads(text, object_hook=lambda fields: fields | {"seconds": None})
        except ValueError:
            return {"no document": self.out, "stderr": self.error}


class Checker:
    """Runs the program, compares, and remembers what differed. Used from several threads."""

    def __init__(self, program, root, home):
        self.program = program
        self.root = root
        self.environment = quiet_environment(home)
        self.passed = 0
        self.failures = []
        self.secrets = set()
        self.local = {}
        self.lock = threading.Lock()

    def run(self, arguments, environment, limit=LIMIT):
        return Run(self.program, arguments, self.environment | environment, limit)

    def check(self, name, problem):
        with self.lock:
            if problem:
                self.failures.append(" ".join(f"{name}: {problem}".split()))
            else:
                self.passed += 1

    def leaked(self, run):
        """Returns what a call wrote of what it must not write."""
        written = [run.out.encode(), run.error.encode(), *run.files.values()]
        if any(secret.encode() in text for secret in self.secrets for text in written):
            return "writes a secret: " + run.error[:300]
        return None

    def on_disk(self, arguments):
        """Returns the same call with the files on the disk. ROOT stands for their directory."""
        arguments = tuple(arguments)
        if arguments not in self.local:
            places = [part.replace(ROOT, str(self.root)) for part in arguments]
            self.local[arguments] = self.run(places, {})
        return self.local[arguments]

    def same(self, name, arguments, url, environment, query=""):
        """Checks that a call does with URLs what it does with the files on the disk."""
        expected = self.on_disk(arguments)
        places = [
            part.replace(ROOT, url).replace(UNUSUAL, UNUSUAL_IN_URL if url.startswith("http") else UNUSUAL)
            + (f"?{query}" if query and part.startswith(ROOT) else "")
            for part in arguments
        ]
        found = self.run(places, environment)
        name = f"{name}: {' '.join(arguments)}".replace(ROOT, url)
        self.check(name, self.leaked(found) or self.difference(expected, found, url))

    def difference(self, expected, found, url):
        if found.code != expected.code:
            return f"exit code {found.code}, on the disk {expected.code}: {(found.error or found.out).strip()[:500]}"
        if sorted(found.files) != sorted(expected.files):
            return f"files {sorted(found.files)}, on the disk {sorted(expected.files)}"
        for name in expected.files:
            if found.files[name] != expected.files[name]:
                return f"{name} has other bytes"
        places = {url: ROOT, str(self.root): ROOT, UNUSUAL_IN_URL: UNUSUAL}
        # `inspect` reads no weights from a bucket.
        unread = {"the weights do not decide": "the weights were not read"}
        is_inspection = '"command": "inspect"' in expected.out
        ours, theirs = found.document(places), expected.document(places | (unread if is_inspection else {}))
        path = first_difference(theirs, ours)
        return path and f"the document of --json differs: {path}"

    def refused(self, name, arguments, environment, codes, words, limit=REFUSAL_LIMIT):
        """Checks that a call fails in time, with one of the exit codes and one of the words."""
        found = self.run(arguments, environment, limit)
        problem = self.leaked(found)
        if not problem and (found.code not in codes or not any(word in found.error for word in words)):
            what = f"exit code {found.code} of {codes}, one of {words}"
            problem = f"expected {what}: {found.error.strip()[:500]}"
        if not problem and found.files:
            problem = f"left {sorted(found.files)}"
        self.check(name, problem)


def first_difference(expected, found, path=""):
    """Returns where two documents differ first, with both values; None if they are equal."""
    if isinstance(expected, dict) and isinstance(found, dict) and expected.keys() == found.keys():
        pairs = [(f"{path}.{key}", expected[key], found[key]) for key in expected]
    elif isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        pairs = [(f"{path}[{at}]", *pair) for at, pair in enumerate(zip(expected, found, strict=True))]
    else:
        return None if expected == found else f"{path} is {found!r:.300}, on the disk {expected!r:.300}"
    for where, one, other in pairs:
        if different := first_difference(one, other, where):
            return different
    return None


def convert(options, *paths):
    return (*options, "--json", *(f"{ROOT}/{path}" for path in paths), "out")


def unusual_names():
    """Returns the arguments for a checkpoint in directories with unusual names."""
    return convert(DISCRIMINATOR, f"{UNUSUAL}/electra_tiny")
