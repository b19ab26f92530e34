"""The browser of the browser tests: Debian's headless shell, Debian's Chromium, or Playwright's Chromium."""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Final

# Debian's programs, the preferred program first. The headless shell needs 40 % less processor time per page than
# Chromium.
HEADLESS_SHELL: Final = Path("/usr/bin/chromium-headless-shell")
CHROMIUM: Final = Path("/usr/bin/chromium")
_INSTALL_LOCK: Final = Path(tempfile.gettempdir()) / "curhat-browser-install.lock"
INSTALL_SECONDS: Final = 600
ARGUMENTS: Final = (
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    # Chromium's sandbox does not work for root.
    *(("--no-sandbox",) if os.geteuid() == 0 else ()),
)


class NoBrowserError(Exception):
    """No Chromium exists here and none can be installed. The message says why."""


@cache
def chromium() -> Path | None:
    """Return the browser's path, or None for Playwright's browser. Installs a browser if none exists. Raises
    NoBrowserError.
    """
    with _INSTALL_LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # apt-get fails if the other test process runs it at the same time
        if not HEADLESS_SHELL.exists() and os.geteuid() == 0 and shutil.which("apt-get"):
            _install_with_apt()
        for program in (HEADLESS_SHELL, CHROMIUM):
            if program.exists():
                return program
        _run(sys.executable, "-m", "playwright", "install", "chromium")
        return None


def _install_with_apt() -> None:
    """Install the headless shell, and the fonts of the phones for which the clients are made."""
    wanted = ("chromium-headless-shell", "fonts-roboto-unhinted", "fonts-noto-color-emoji")
    try:
        _run("apt-get", "update", "--quiet")
        _run("apt-get", "install", "--quiet", "--yes", "--no-install-recommends", *wanted)
    except NoBrowserError:
        if not CHROMIUM.exists():
            raise


def _run(*command: str) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoBrowserError(f"{' '.join(command)}: {error}") from None
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise NoBrowserError(f"{' '.join(command)}: {said[-1] if said else done.returncode}")
