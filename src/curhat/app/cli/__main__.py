"""`python -m curhat.app.cli`: the command line as a module. `curhat up` starts the server and the worker this way."""

import sys

from curhat.app.cli.main import main

sys.exit(main())
