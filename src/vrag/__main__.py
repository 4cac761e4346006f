"""`python -m vrag`: the command without an installed script."""

import sys

from vrag.cli import main

sys.exit(main())
