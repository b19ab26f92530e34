"""`python -m curhat.app.cli`: how `curhat up` starts the server and the worker."""

import sys

from curhat.app.cli.main import main

sys.exit(main())
