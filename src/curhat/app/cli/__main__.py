"""`python -m curhat.app.cli`: the command line as a module. `curhat up` starts the server and the worker with it."""

import sys

from curhat.app.cli.main import main

sys.exit(main())
