"""The two browsers of the browser tests: the headless shell and Chromium.

Debian or Playwright provides these browsers.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Final

from playwright.async_api import Browser, Playwright

# Debian's programs. The headless shell needs 40 % less processor time per page than Chromium, but it shows no
# notifications.
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
    # The sandbox of Chromium does not work for root.
    *(("--no-sandbox",) if os.geteuid() == 0 else ()),
)


class NoBrowserError(Exception):
    """This machine has no Chromium, and an installation of Chromium fails. The message says why."""


class Browsers:
    """The browsers of one test process. Each browser starts at the first use in a test, and stops with Playwright."""

    def __init__(self, playwright: Playwright) -> None:
        self._playwright = playwright
        self._started: dict[bool, Browser] = {}

    async def get(self, *, notifications: bool = False) -> Browser:
        """Return the headless shell, or Chromium for pages that show notifications. Raises NoBrowserError."""
        if notifications not in self._started:
            program = chromium(notifications=notifications)
            self._started[notifications] = await self._playwright.chromium.launch(
                executable_path=program,
                channel="chromium" if notifications and program is None else None,
                args=list(ARGUMENTS),
            )
        return self._started[notifications]


@cache
def chromium(*, notifications: bool = False) -> Path | None:
    """Return the path of the headless shell or of Chromium. Only Chromium shows notifications.

    Installs missing browsers. Returns None for Playwright's own browser. Raises NoBrowserError.
    """
    with _INSTALL_LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # apt-get fails if the other test process runs it at the same time
        wanted = CHROMIUM if notifications else HEADLESS_SHELL
        if not wanted.exists() and os.geteuid() == 0 and shutil.which("apt-get"):
            _install_with_apt()
        for program in (wanted, CHROMIUM):
            if program.exists():
                return program
        _run(sys.executable, "-m", "playwright", "install", "chromium")
        return None


def _install_with_apt() -> None:
    """Install both browsers, and the fonts of the phones that the clients support."""
    wanted = ("chromium-headless-shell", "chromium", "fonts-roboto-unhinted", "fonts-noto-color-emoji")
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
