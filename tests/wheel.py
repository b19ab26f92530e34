"""Install the wheel outside a checkout, start `curhat up`, and load each web client (`make wheel`).

python -m tests.wheel dist/curhat-….whl
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import httpx

from tests.support.signed_in import free_port

ROOT: Final = Path(__file__).parents[1]
UV: Final = str(Path(sys.prefix) / "bin" / "uv")
START_TIMEOUT_SECONDS: Final = 120
CLIENTS: Final = ("/app/", "/mitra/", "/control-center/")


def main() -> int:
    """Return 0 if every page and file loads with the status 200."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("wheel", type=Path)
    wheel = parser.parse_args().wheel.absolute()
    with tempfile.TemporaryDirectory(prefix="curhat-wheel-") as name:
        folder = Path(name)
        # If root runs this command, the embedded servers run as another user. The other user must be able to reach the
        # programs.
        folder.chmod(0o755)
        _install(wheel, folder)
        return _check(folder)


def _install(wheel: Path, folder: Path) -> None:
    begun = time.monotonic()
    run = [UV, "venv", "--quiet", "--python", sys.executable, str(folder / "venv")]
    subprocess.run(run, check=True)
    constraints = ["--constraints", str(ROOT / "requirements.lock")]
    install = [
        UV,
        "pip",
        "install",
        "--quiet",
        "--python",
        str(folder / "venv"),
        *constraints,
        f"{wheel}[dev]",
    ]
    subprocess.run(install, check=True)
    print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB, installed in {time.monotonic() - begun:.1f} s")


def _check(folder: Path) -> int:
    begun = time.monotonic()
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "CURHAT_ENVIRONMENT": "development",
        "CURHAT_PORT": str(port),
        "CURHAT_DATA_DIR": str(folder / "data"),
    }
    log = (folder / "up.log").open("w")
    up = subprocess.Popen(
        [folder / "venv" / "bin" / "curhat", "up"], cwd=folder, env=environ, stdout=log, stderr=log
    )
    try:
        _wait_until_ready(up, url, folder / "up.log")
        print(f"curhat up is ready ({time.monotonic() - begun:.1f} s)")
        wrong = [answer for answer in _load_clients(url) if not answer.endswith(": 200")]
    finally:
        up.send_signal(signal.SIGINT)
        up.wait(30)
    for answer in wrong:
        print(f"wrong: {answer}", file=sys.stderr)
    return 1 if wrong else 0


def _wait_until_ready(up: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        if up.poll() is not None:
            raise SystemExit(f"curhat up ended with {up.returncode}:\n{log.read_text()}")
        try:
            if httpx.get(f"{url}/readyz").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)  # Nothing tells another program that the server listens.
    raise SystemExit(f"curhat up was not ready in time:\n{log.read_text()}")


def _load_clients(url: str) -> list[str]:
    """Load the page of each client, and the files that the page names. Returns each path with its status."""
    answers = []
    with httpx.Client(base_url=url) as http:
        for client in CLIENTS:
            page = http.get(client)
            answers.append(f"{client}: {page.status_code}")
            files = re.findall(rf'(?:src|href)="({client}[^"]+)"', page.text)
            assert any(file.endswith(".js") for file in files), page.text
            answers += [f"{file}: {http.get(file).status_code}" for file in files]
    print(f"{len(answers)} pages and files of {len(CLIENTS)} clients loaded")
    return answers


if __name__ == "__main__":
    sys.exit(main())
