"""The file `run.json` in a data directory. With this file, a command finds the running `curhat up`."""

from contextlib import suppress
from pathlib import Path
from typing import Self

import msgspec

from curhat.kit.settings import PREFIX, Environment


class RunFile(msgspec.Struct, frozen=True):
    """The process id and the settings of the `curhat up` that runs in a data directory."""

    pid: int
    environment: Environment
    host: str
    port: int
    database_url: str
    valkey_url: str
    secret_key: str

    @classmethod
    def read(cls, data_dir: Path) -> Self | None:
        """Read the file of the `curhat up` that runs in `data_dir`. Return None if no `curhat up` runs."""
        with suppress(FileNotFoundError):
            run_file = msgspec.json.decode((data_dir / "run.json").read_bytes(), type=cls)
            # Check that the process exists, because a killed `curhat up` leaves its file behind.
            if Path(f"/proc/{run_file.pid}").exists():
                return run_file
        return None

    def write(self, data_dir: Path) -> None:
        """Write the file atomically. Only the owner can read the file."""
        temporary = data_dir / "run.json.new"
        temporary.touch(mode=0o600)
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(self)))
        temporary.replace(data_dir / "run.json")

    def environ(self) -> dict[str, str]:
        """Return the settings as environment variables."""
        values = msgspec.structs.asdict(self)
        return {f"{PREFIX}{name.upper()}": str(value) for name, value in values.items() if name != "pid"}
