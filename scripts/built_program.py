"""Finds the electra-convert that was built last."""

import os
import sys
from pathlib import Path


def built_program():
    target = Path(os.environ.get("CARGO_TARGET_DIR", Path(__file__).parent.parent / "target"))
    built = [target / profile / "electra-convert" for profile in ("release", "debug")]
    built = [path for path in built if path.is_file()]
    if not built:
        sys.exit("no program built: run cargo build --release, or give --program")
    return max(built, key=lambda path: path.stat().st_mtime)
