"""Packs the program with its manual page, completions and documents: a .tar.gz, for Windows a .zip.

Usage: python3 scripts/archive.py TARGET BUILD SHARE OUT
BUILD has the program, SHARE is what scripts/share.sh wrote. The same files give the same bytes.
"""

import gzip
import io
import sys
import tarfile
import zipfile
from pathlib import Path

from check_metadata import REPOSITORY, version

DOCUMENTS = ("README.md", "LICENSE", "CHANGELOG.md")
# The first moment that a zip archive can state.
YEAR = (1980, 1, 1, 0, 0, 0)


def contents(program, share):
    """Returns pairs of a name in the archive and a path, in the order of the names."""
    pairs = [(program.name, program), *((name, REPOSITORY / name) for name in DOCUMENTS)]
    pages = [path for path in share.rglob("*") if path.is_file()]
    if not pages:
        sys.exit(f"{share} has no files: run scripts/share.sh")
    pairs += [(f"share/{path.relative_to(share).as_posix()}", path) for path in pages]
    return sorted(pairs)


def write_tar(archive, root, pairs, program):
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, path in pairs:
            entry = tarfile.TarInfo(f"{root}/{name}")
            entry.size = path.stat().st_size
            entry.mode = 0o755 if path == program else 0o644
            with path.open("rb") as file:
                tar.addfile(entry, file)
    archive.write_bytes(gzip.compress(plain.getvalue(), mtime=0))


def write_zip(archive, root, pairs):
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, path in pairs:
            packed.writestr(zipfile.ZipInfo(f"{root}/{name}", YEAR), path.read_bytes(), zipfile.ZIP_DEFLATED)


def main(target, build, share, out):
    is_windows = "windows" in target
    program = Path(build, "electra-convert.exe" if is_windows else "electra-convert")
    root = f"electra-convert-{version()}-{target}"
    Path(out).mkdir(parents=True, exist_ok=True)
    archive = Path(out, f"{root}.zip" if is_windows else f"{root}.tar.gz")
    pairs = contents(program, Path(share))
    if is_windows:
        write_zip(archive, root, pairs)
    else:
        write_tar(archive, root, pairs, program)
    print(archive)


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    main(*sys.argv[1:])
