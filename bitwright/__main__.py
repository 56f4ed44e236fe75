"""`python -m bitwright` is the command line."""

import sys

from bitwright.cli import main

sys.exit(main())
