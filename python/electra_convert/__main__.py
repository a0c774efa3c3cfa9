"""``python -m electra_convert`` is the program ``electra-convert``."""

from ._cli import main

if __name__ == "__main__":
    main()
