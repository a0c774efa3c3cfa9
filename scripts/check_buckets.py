#!/usr/bin/env python3
"""Convert checkpoints in buckets and behind web addresses; compare with the same checkpoints on the disk.

    scripts/check_buckets.py [--program PATH] [--azurite PATH]

Starts servers on the loopback interface: moto for S3, fake-gcs-server for Google Cloud Storage, azurite for Azure, and
static web servers with and without ranges. A checkpoint of each format is uploaded to each of them. Then:

- each checkpoint, named in each way that the guide lists, is converted from each server. Every file must have the
  bytes that it has when the checkpoint is on the disk, and the document of --json must be the same, with the URL in
  place of the path, without the query;
- the same holds for `inspect`, for `verify --source`, and for --vocab and --config with a URL;
- exports are written to S3 and Azure, with the files that they have on the disk and no others, are not replaced without
  --force, and leave no unfinished upload;
- credentials are taken from every place that the guide lists, and public files are read without any;
- missing files, missing buckets and wrong credentials end within 10 seconds, with the exit code and the words that
  REFUSALS states;
- nothing that the program writes contains a password, a signature or the query of a URL.

Needs: the program, built with --features cloud; pip install -r scripts/requirements-buckets.txt; Node.js and
npm install --prefix target/azurite azurite@3.35.0. Exits with 1 when a check fails. No other host is contacted.
"""

import argparse
import signal
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import bucket_access
import bucket_files
import bucket_writing
from bucket_checker import ROOT, Checker, convert, unusual_names
from bucket_files import CASES, DISCRIMINATOR, PUBLIC
from bucket_servers import S3, Azure, Gcs, Silent, Static, Web
from built_program import built_program

REPOSITORY = Path(__file__).resolve().parent.parent
AZURITE = REPOSITORY / "target" / "azurite" / "node_modules" / ".bin" / "azurite-blob"
THREADS = 3


def conversions(checker, store):
    """Yields the checks of every checkpoint on one server."""

    def check(*arguments):
        return lambda: checker.same(store.name, arguments, store.url, store.environment, getattr(store, "query", ""))

    for case in CASES:
        for path in case.known + (case.listed if store.lists else ()):
            yield check(*convert(case.options, path))
        if case.known:
            yield check("inspect", "--json", f"{ROOT}/{case.known[0]}")
    if store.name != "S3":
        # With some of these characters moto computes another signature than S3; see bucket_access.unsigned_s3().
        yield check(*unusual_names())
    yield check("inspect", "--json", "--variables", f"{ROOT}/run/model.ckpt-400")
    vocabulary = ("--vocab", f"{ROOT}/run/vocab.txt")
    config = ("--config", f"{ROOT}/settings/config.json")
    yield check(*convert((*DISCRIMINATOR, *vocabulary), "above/runs/one/electra_tiny"))
    yield check(*convert((*DISCRIMINATOR, *vocabulary, *config), "v1/model.ckpt-400"))
    # The checkpoint on the disk, only the options in the bucket.
    local = str(checker.root / "v1" / "model.ckpt-400")
    yield check(*DISCRIMINATOR, *vocabulary, *config, "--json", local, "out")


def verification(checker, store):
    """Checks `verify --source` with a URL."""
    with tempfile.TemporaryDirectory() as folder:
        out = f"{folder}/out"
        checker.run([*DISCRIMINATOR, str(checker.root / "run"), out], {})
        arguments = ("verify", out, "--json", "--source", f"{ROOT}/run/model.ckpt-400")
        checker.same(store.name, arguments, store.url, store.environment, getattr(store, "query", ""))
        other = ("verify", out, "--json", "--source", f"{ROOT}/steps/model.ckpt-400")
        checker.same(store.name, other, store.url, store.environment, getattr(store, "query", ""))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--program", type=Path, help="electra-convert [default: the one built last]")
    parser.add_argument("--azurite", type=Path, default=AZURITE, help="azurite-blob [default: %(default)s]")
    args = parser.parse_args()
    program = (args.program or built_program()).resolve()
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, lambda number, _: sys.exit(128 + number))

    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory())).resolve()
        root, home = folder / "files", folder / "empty"
        root.mkdir()
        home.mkdir()
        bucket_files.make(root, REPOSITORY / "fixtures")
        checker = Checker(program, root, home)

        quiet = checker.environment
        s3 = stack.enter_context(closing(S3(root, PUBLIC, quiet)))
        gcs = stack.enter_context(closing(Gcs(root, PUBLIC, quiet)))
        azure = stack.enter_context(closing(Azure(root, PUBLIC, quiet, args.azurite.resolve())))
        web = [
            stack.enter_context(closing(Web(name, root, handler, **settings)))
            for name, handler, settings in [
                ("web", Static, {}),
                ("web without ranges", Silent, {}),
                ("web that refuses what is missing", Static, {"missing": 403}),
            ]
        ]
        stores = [s3, gcs, azure, *web]
        checker.secrets.update(secret for store in stores for secret in store.secrets)

        with ThreadPoolExecutor(THREADS) as pool:

            def together(name, checks):
                start, before = time.monotonic(), checker.passed
                failed = len(checker.failures)
                list(pool.map(lambda check: check(), checks))
                failed = len(checker.failures) - failed
                seconds = time.monotonic() - start
                print(f"  {name}: {checker.passed - before} passed, {failed} failed, {seconds:.0f} s", flush=True)

            # The conversions from the disk first: they are compared with all others.
            arguments = {convert(case.options, path) for case in CASES for path in case.known + case.listed}
            list(pool.map(checker.on_disk, sorted(arguments)))
            for store in stores:
                together(store.name, conversions(checker, store))
            together("verify --source", [lambda store=store: verification(checker, store) for store in stores])
            together("credentials", bucket_access.credentials(checker, s3, gcs, azure, folder))
            together("writing", [lambda: [check() for check in bucket_writing.checks(checker, s3, gcs, azure)]])
            together("refusals", bucket_access.refusals(checker, s3, gcs, azure, web))
            together("signed addresses", [lambda: bucket_access.signed_addresses(checker, root)])
            together("S3 without credentials", [lambda: bucket_access.unsigned_s3(checker, s3)])

    for failure in checker.failures:
        print(f"FAILED {failure}")
    print(f"\n{checker.passed} passed, {len(checker.failures)} failed")
    sys.exit(1 if checker.failures else 0)


if __name__ == "__main__":
    main()
