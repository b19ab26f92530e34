"""Runs the command line as `python -m curhat.app.cli`.

`curhat up` starts the server and the worker with this module.
"""

import sys

from curhat.app.cli.main import main

sys.exit(main())
