"""``python -m textok``."""

import sys

from textok.cli import main

sys.exit(main())
