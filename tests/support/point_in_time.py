"""A PostgreSQL that archives its WAL, and its restore to an earlier time by the commands of production."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

import asyncpg

from curhat.app.cli.main import main
from curhat.dev.embedded import EmbeddedServers, embedded_servers
from curhat.kit.migrations import migrate


class ArchivedPostgres:
    """PostgreSQL and Valkey of one test. PostgreSQL archives every WAL segment into `wal`."""

    def __init__(self, servers: EmbeddedServers, folder: Path) -> None:
        self.servers = servers
        self.backup = folder / "backup"
        self.wal = folder / "wal"

    async def begin_archiving(self) -> None:
        """Make PostgreSQL archive its WAL, and apply the migrations."""
        self.wal.mkdir()
        self._give_to_postgres(self.wal)
        connection = await asyncpg.connect(self.servers.database_url)
        await migrate(connection)
        for setting in ("archive_mode = on", f"archive_command = 'cp %p {self.wal}/%f'", "fsync = off"):
            await connection.execute(f"ALTER SYSTEM SET {setting}")
        await connection.close()
        await self.servers.postgres.stop()
        await self.servers.postgres.start()

    async def back_up(self) -> None:
        """Make a base backup. It replaces an earlier one."""
        shutil.rmtree(self.backup, ignore_errors=True)
        host = self.servers.database_url.partition("host=")[2].partition("&")[0]
        command = [self.servers.postgres.program("pg_basebackup"), "--pgdata", str(self.backup)]
        command += ["--checkpoint=fast", "--wal-method=none", "--no-sync", "--no-password"]
        command += ["--host", host, "--username", "curhat"]
        ended = await asyncio.to_thread(
            subprocess.run, command, capture_output=True, text=True, check=False, timeout=60
        )
        assert ended.returncode == 0, ended.stderr
        self._give_to_postgres(self.backup)

    async def restore(self, to: datetime) -> Path:
        """Restore to this time, as an operator does, and start PostgreSQL on the new directory.

        PostgreSQL then ends its recovery by itself. Returns the old directory, which is unchanged.
        """
        await self.servers.postgres.stop()  # It archives its last WAL first.
        folder = self.servers.postgres.folder
        new, old = folder.with_name("new"), folder.with_name("old")
        arguments = ["restore", "--to", to.isoformat(), "--into", str(new)]
        arguments += ["--backup", str(self.backup), "--wal", str(self.wal)]
        assert await asyncio.to_thread(main, arguments) == 0
        folder.rename(old)
        new.rename(folder)
        self._give_to_postgres(folder)
        await self.servers.postgres.start()
        return old

    async def restore_by_hand(self, to: datetime) -> None:
        """Restore to this time without `curhat restore`, and start PostgreSQL on the new directory."""
        await self.servers.postgres.stop()
        folder = self.servers.postgres.folder
        folder.rename(folder.with_name("before"))
        await asyncio.to_thread(subprocess.run, ["cp", "-a", str(self.backup), str(folder)], check=True)
        with (folder / "postgresql.auto.conf").open("a") as settings:
            settings.write(f"restore_command = 'cp {self.wal}/%f %p'\n")
            settings.write(f"recovery_target_time = '{to.isoformat()}'\nrecovery_target_action = 'promote'\n")
        (folder / "recovery.signal").touch()
        folder.chmod(0o700)
        self._give_to_postgres(folder)
        await self.servers.postgres.start()

    def _give_to_postgres(self, folder: Path) -> None:
        owner = self.servers.postgres.folder.parent / "postgres"
        found = next(path for path in (owner, self.backup, self.wal) if path.exists()).stat()
        for path in (folder, *folder.rglob("*")):
            os.chown(path, found.st_uid, found.st_gid)


@asynccontextmanager
async def archived_postgres(folder: Path) -> AsyncIterator[ArchivedPostgres]:
    """Run PostgreSQL and Valkey in `folder` until the end of the block."""
    # The account of PostgreSQL copies WAL to and from this folder by its path.
    folder.chmod(0o711)
    async with embedded_servers(folder) as servers:
        postgres = ArchivedPostgres(servers, folder)
        await postgres.begin_archiving()
        yield postgres
    shutil.rmtree(folder, ignore_errors=True)


@asynccontextmanager
async def environment(variables: Mapping[str, str]) -> AsyncIterator[None]:
    """Set these environment variables during the block, for commands in this process."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
