"""A network namespace: a second network on this machine, in which a server can go dark as a lost machine does."""

import os
import shutil
import subprocess
from typing import Final

# Of the range 10.0.0.0/8. Each network has the next four addresses.
_FIRST_SECOND_BYTE: Final = 190
_SECOND_BYTES: Final = 60


def may_make_networks() -> bool:
    """Whether this process may make network namespaces."""
    if os.geteuid() != 0 or shutil.which("ip") is None or shutil.which("setpriv") is None:
        return False
    made = subprocess.run(["ip", "netns", "add", "curhat-probe"], capture_output=True, check=False)
    subprocess.run(["ip", "netns", "del", "curhat-probe"], capture_output=True, check=False)
    return made.returncode == 0


class Network:
    """A namespace with one address, which this machine reaches through a pair of virtual interfaces."""

    def __init__(self, number: int) -> None:
        # The process id keeps two test runs apart. The name of an interface has at most 15 characters.
        run = os.getpid() % (_SECOND_BYTES * 250)
        second, third = divmod(run, 250)
        self._name = f"curhat-{run}-{number}"
        self._ours, self._theirs = f"ch{run}-{number}a", f"ch{run}-{number}b"
        prefix = f"10.{_FIRST_SECOND_BYTE + second}.{third}"
        self._our_address = f"{prefix}.{4 * number + 1}"
        self.address = f"{prefix}.{4 * number + 2}"

    def make(self) -> None:
        """Make the namespace and its connection with this machine."""
        self.remove()
        _ip("netns", "add", self._name)
        _ip("link", "add", self._ours, "type", "veth", "peer", "name", self._theirs, "netns", self._name)
        _ip("address", "add", f"{self._our_address}/30", "dev", self._ours)
        _ip("link", "set", self._ours, "up")
        self._inside("address", "add", f"{self.address}/30", "dev", self._theirs)
        self._inside("link", "set", self._theirs, "up")
        self._inside("link", "set", "lo", "up")

    def go_dark(self) -> None:
        """Lose every packet that leaves the namespace from now on. So the namespace acknowledges nothing."""
        self._inside("route", "add", "blackhole", f"{self._our_address}/32")

    def come_back(self) -> None:
        """End what `go_dark` began."""
        self._inside("route", "del", "blackhole", f"{self._our_address}/32")

    def remove(self) -> None:
        """Remove the namespace, if it exists. The kernel removes its interfaces with it."""
        subprocess.run(["ip", "netns", "del", self._name], capture_output=True, check=False)
        subprocess.run(["ip", "link", "del", self._ours], capture_output=True, check=False)

    def command(self) -> list[str]:
        """The beginning of a command that runs in the namespace, as root."""
        return ["ip", "netns", "exec", self._name]

    def _inside(self, *arguments: str) -> None:
        _ip("-n", self._name, *arguments)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
