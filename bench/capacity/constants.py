"""The measured constants: what one unit of each kind of work costs. constants.json holds them."""

from pathlib import Path
from typing import Final

import msgspec

FILE: Final = Path(__file__).with_name("constants.json")


class Cost(msgspec.Struct, frozen=True):
    """What one unit of work costs: microseconds of a processor, bytes of WAL, and commands of Valkey."""

    server_us: float
    worker_us: float
    postgresql_us: float
    valkey_us: float
    wal_bytes: float
    valkey_commands: float


class Constants(msgspec.Struct, frozen=True):
    """All constants, with the machine on which they were measured.

    `process_minute` is what a server and a worker use in a minute in which nothing happens. `bystander_us` is what one
    message costs a server process that holds neither side.
    """

    measured_at: str
    commit: str
    machine: str
    busy_share: float
    process_minute: Cost
    idle_customer_minute: Cost
    waiting_mitra_minute: Cost
    poll: Cost
    search: Cost
    card: Cost
    accept: Cost
    message: Cost
    read: Cost
    session_end: Cost
    bystander_us: float
    customer_socket_kib: float
    mitra_socket_kib: float
    process_mib: float
    kept_bytes_per_session: float
    kept_bytes_per_card: float
    kept_bytes_per_message: float
    day_bytes_per_message: float


def read_constants(file: Path = FILE) -> Constants:
    """Read the constants of the last measurement."""
    return msgspec.json.decode(file.read_bytes(), type=Constants)


def write_constants(constants: Constants, file: Path = FILE) -> None:
    """Write the constants, rounded, because the last digits are noise."""
    values = msgspec.to_builtins(constants)
    rounded = {name: _rounded(value) for name, value in values.items()}
    file.write_bytes(msgspec.json.format(msgspec.json.encode(rounded), indent=2) + b"\n")


def _rounded(value: object) -> object:
    if isinstance(value, dict):
        return {name: _rounded(part) for name, part in value.items()}
    return round(value, 2) if isinstance(value, float) else value
