"""``python -m fundarb``: the same command line as the console script."""

import sys

from fundarb.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
