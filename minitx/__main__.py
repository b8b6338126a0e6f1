"""`python -m minitx` is the command `minitx`."""
import sys

from .cli import main

sys.exit(main())
