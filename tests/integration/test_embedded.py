"""Test that the embedded servers start in any data directory, for any user, and after each process was killed."""

import asyncio
import contextlib
import os
import signal
import stat
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
import valkey.asyncio

from curhat.dev.child_processes import Program, ProgramError
from curhat.dev.embedded import EmbeddedServers, embedded_servers, lock_data_dir

OWNER_ONLY = 0o700

# A separate process that starts the servers as `curhat up` does. The process runs until a test kills the process.
OTHER_PROCESS = """
import asyncio, sys
from pathlib import Path
from curhat.dev.embedded import embedded_servers

async def main():
    async with embedded_servers(Path(sys.argv[1])) as servers:
        print(servers.database_url, servers.postgres.pid, servers.valkey.pid, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """Return the path of a data directory.

    Only the owner can enter the parent folder, and the path is too long for a Unix socket.
    """
    closed = tmp_path / "closed"
    closed.mkdir(mode=OWNER_ONLY)
    return closed / ("deep" * 30) / "data"


@pytest.fixture
async def own_servers(data_dir: Path) -> AsyncIterator[EmbeddedServers]:
    """Start servers that only this test uses. The test is allowed to kill the servers."""
    async with embedded_servers(data_dir) as servers:
        yield servers


async def store(servers: EmbeddedServers, value: int) -> None:
    connection = await asyncpg.connect(servers.database_url)
    await connection.execute("CREATE TABLE IF NOT EXISTS kept (value int)")
    await connection.execute("INSERT INTO kept VALUES ($1)", value)
    await connection.close()


async def stored(servers: EmbeddedServers) -> list[int]:
    connection = await asyncpg.connect(servers.database_url)
    rows = await connection.fetch("SELECT value FROM kept ORDER BY value")
    await connection.close()
    return [row["value"] for row in rows]


async def answers(servers: EmbeddedServers) -> bool:
    async with valkey.asyncio.Valkey.from_url(servers.valkey_url) as client:
        return bool(await client.ping())


async def until_gone(pid: int) -> None:
    async with asyncio.timeout(20):
        # A zombie process counts as ended.
        while "State:\tZ" not in status_of(pid):
            await asyncio.sleep(0.01)


def status_of(pid: int) -> str:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/status").read_text()
    return "State:\tZ"


def pid_of(program: Program) -> int:
    assert program.pid is not None
    return program.pid


async def test_both_servers_answer_and_postgres_has_durable_settings(own_servers: EmbeddedServers) -> None:
    connection = await asyncpg.connect(own_servers.database_url)
    rows = await connection.fetch(
        "SELECT name, setting FROM pg_settings WHERE name IN ('fsync', 'synchronous_commit', 'TimeZone', 'jit')"
    )
    await connection.close()
    assert {row["name"]: row["setting"] for row in rows} == {
        "fsync": "on",
        "synchronous_commit": "on",
        "TimeZone": "UTC",
        "jit": "off",
    }
    assert await answers(own_servers)


@pytest.mark.usefixtures("own_servers")
def test_other_users_cannot_enter_the_folders_of_the_servers(data_dir: Path) -> None:
    """The start changes no access rights of the parent folders."""
    folders = [
        data_dir,
        data_dir / "postgres",
        data_dir / "valkey",
        data_dir / "sockets",
        data_dir.parents[1],
    ]
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in folders} == {OWNER_ONLY}


async def test_no_tcp_port_is_opened(own_servers: EmbeddedServers) -> None:
    connection = await asyncpg.connect(own_servers.database_url)
    assert await connection.fetchval("SHOW listen_addresses") == ""
    await connection.close()
    async with valkey.asyncio.Valkey.from_url(own_servers.valkey_url) as client:
        assert await client.config_get("port") == {"port": "0"}


async def test_the_second_start_finds_the_data_of_the_first_start(data_dir: Path) -> None:
    async with embedded_servers(data_dir) as servers:
        await store(servers, 1)
    async with embedded_servers(data_dir) as servers:
        assert await stored(servers) == [1]
    assert not (data_dir / "sockets").is_symlink()


@pytest.mark.invariant(12)
async def test_postgres_has_every_committed_row_after_kill_9(own_servers: EmbeddedServers) -> None:
    await store(own_servers, 1)
    os.kill(pid_of(own_servers.postgres), signal.SIGKILL)
    assert await own_servers.postgres.wait() == "signal SIGKILL"
    await own_servers.postgres.start()
    assert await stored(own_servers) == [1]


async def test_valkey_starts_at_the_same_address_after_kill_9(own_servers: EmbeddedServers) -> None:
    address = own_servers.valkey_url
    os.kill(pid_of(own_servers.valkey), signal.SIGKILL)
    assert await own_servers.valkey.wait() == "signal SIGKILL"
    await own_servers.valkey.start()
    assert own_servers.valkey_url == address
    assert await answers(own_servers)


@pytest.mark.invariant(12)
async def test_the_servers_end_with_their_parent_and_can_be_started_again_immediately(data_dir: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", OTHER_PROCESS, str(data_dir), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    url, *pids = (await process.stdout.readline()).decode().split()
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE TABLE kept (value int)")
    await connection.execute("INSERT INTO kept VALUES (1)")
    process.kill()
    await process.wait()
    # Start the servers again immediately, while the old servers are still stopping.
    async with embedded_servers(data_dir) as servers:
        assert await stored(servers) == [1]
        assert await answers(servers)
        for pid in pids:
            await until_gone(int(pid))
    connection.terminate()


async def test_a_start_ends_old_servers_that_still_run_after_their_parent_ended(data_dir: Path) -> None:
    async with embedded_servers(data_dir) as servers:
        await store(servers, 1)
        left = [pid_of(servers.postgres), pid_of(servers.valkey)]
        # Simulate that the parent ended and the kernel sent no signal to the servers. Start servers in this folder
        # again.
        again = EmbeddedServers(data_dir)
        await again.start()
        for pid in left:
            await until_gone(pid)
        assert await stored(again) == [1]
        await again.stop()


async def test_the_unfinished_cluster_of_a_killed_initdb_is_removed(data_dir: Path) -> None:
    unfinished = data_dir / "postgres.unfinished"
    unfinished.mkdir(parents=True)
    (unfinished / "PG_VERSION").write_text("18\n")
    async with embedded_servers(data_dir) as servers:
        await store(servers, 1)
    assert not unfinished.exists()


async def test_postgres_starts_even_if_another_process_has_the_process_id_in_postmaster_pid(
    data_dir: Path,
) -> None:
    async with embedded_servers(data_dir) as servers:
        await store(servers, 1)
    (data_dir / "postgres" / "postmaster.pid").write_text(f"{os.getppid()}\n/elsewhere\n1\n5432\n\n\n\n")
    async with embedded_servers(data_dir) as servers:
        assert await stored(servers) == [1]


def test_only_one_process_can_lock_a_data_directory(tmp_path: Path) -> None:
    with lock_data_dir(tmp_path):
        with pytest.raises(ProgramError) as caught, lock_data_dir(tmp_path):
            pass
        assert str(caught.value).endswith(
            f"is in use: curhat up runs there already, as process {os.getpid()}"
        )
    with lock_data_dir(tmp_path):
        pass
