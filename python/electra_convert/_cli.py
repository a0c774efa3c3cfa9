"""The console script ``electra-convert``: the program itself, in process."""

import signal
import sys

from . import _native


def main() -> None:
    """Runs the program with the arguments of this process and exits with its exit code."""
    # Python's handler would only set a flag that no Python code looks at. An ignored signal (nohup) stays ignored.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(_native.main(sys.argv[1:]))
