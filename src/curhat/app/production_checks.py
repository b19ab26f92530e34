"""The additional checks of `curhat doctor --production` find faults before the faults cause harm."""

import itertools
import resource
import stat
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

import valkey.asyncio
from valkey.exceptions import ResponseError

from curhat.app.findings import Finding
from curhat.content.help_lines import queries as help_lines
from curhat.content.help_lines.service import MAX_VERIFIED_DAYS
from curhat.kit.database import Connection
from curhat.kit.identity import AnyRole
from curhat.kit.roles import serving_role_faults
from curhat.kit.server_urls import RISKS, verifies_database_certificate
from curhat.kit.settings import FILE_SENDER, FILE_SUFFIX, PREFIX, ROLE_ORIGINS, Settings

MIN_OPEN_FILES: Final = 65_536
# During a deploy, the old processes (a server and a worker) and the new processes run at the same time.
PROCESSES_AT_A_DEPLOY: Final = 4

SECONDS_PER_DAY: Final = 86_400
# Where deploy/bin/curhat-publish writes (Debian's node_exporter).
METRICS_FOLDER: Final = Path("/var/lib/prometheus/node-exporter")
# Each entry has a subject, a metric, the maximum age in days, and the state of the finding if the metric is older. The
# alerts have the same limits.
AGES: Final[tuple[tuple[str, str, float, Literal["warn", "FAIL"]], ...]] = (
    ("last backup", "curhat_backup_completed_timestamp_seconds", 1.5, "FAIL"),
    ("restore drill", "curhat_restore_drill_completed_timestamp_seconds", 40, "warn"),
)

_POSTGRES_SETTINGS: Final = """
SELECT current_setting('fsync') = 'on' AND current_setting('full_page_writes') = 'on'
        AND current_setting('synchronous_commit') <> 'off' AS keeps_commits,
    current_setting('archive_mode') <> 'off' AS archives,
    (SELECT coalesce(last_failed_time > coalesce(last_archived_time, '-infinity'), false) FROM pg_stat_archiver)
        AS archiving_fails,
    (current_setting('log_statement') IN ('mod', 'all')
        OR current_setting('log_min_duration_statement') <> '-1'
        OR current_setting('log_min_duration_sample') <> '-1'
        OR current_setting('log_transaction_sample_rate')::float8 > 0)
        AND current_setting('log_parameter_max_length') <> '0' AS logs_statements_with_values,
    current_setting('log_parameter_max_length_on_error') <> '0' AS logs_values_of_errors,
    current_setting('max_connections')::integer - current_setting('superuser_reserved_connections')::integer
        - current_setting('reserved_connections')::integer AS free_connections,
    EXISTS (SELECT FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl) AS is_encrypted
"""


async def check_role(connection: Connection) -> Finding:
    """Check that the service cannot change the schema or the audit."""
    faults = await serving_role_faults(connection)
    if faults:
        return Finding(
            "FAIL",
            "PostgreSQL role",
            f"{'; '.join(faults)}; run curhat roles and curhat migrate, and connect as the serving role",
        )
    return Finding("ok", "PostgreSQL role", "it owns nothing, and can only add to the audit")


async def check_postgres(connection: Connection, settings: Settings) -> AsyncIterator[Finding]:
    """Check what PostgreSQL keeps, archives and logs, and how the connection is protected."""
    found = await connection.fetchrow(_POSTGRES_SETTINGS)
    assert found is not None  # The statement always returns a row.
    (
        keeps_commits,
        archives,
        archiving_fails,
        logs_statements_with_values,
        logs_values_of_errors,
        free_connections,
        is_encrypted,
    ) = found
    if keeps_commits:
        yield Finding("ok", "durability", "a commit is on the disk")
    else:
        yield Finding(
            "FAIL",
            "durability",
            "a crash loses payments: set fsync, full_page_writes and synchronous_commit to on",
        )
    if archiving_fails:
        yield Finding("FAIL", "backups", "the last archiving of WAL failed; see pg_stat_archiver")
    elif archives:
        yield Finding("ok", "backups", "WAL is archived")
    else:
        yield Finding(
            "warn",
            "backups",
            "no WAL is archived (archive_mode); a lost disk loses all since the last backup",
        )
    if logs_statements_with_values or logs_values_of_errors:
        yield Finding(
            "FAIL",
            "PostgreSQL's log",
            "it would contain chats and phone numbers: set log_parameter_max_length and "
            "log_parameter_max_length_on_error to 0",
        )
    else:
        yield Finding("ok", "PostgreSQL's log", "it contains no values of statements")
    needed = PROCESSES_AT_A_DEPLOY * settings.database_pool_size
    if free_connections < needed:
        yield Finding(
            "warn",
            "connections",
            f"PostgreSQL has {free_connections}, and {PROCESSES_AT_A_DEPLOY} processes may want {needed}; "
            f"raise max_connections, lower {PREFIX}DATABASE_POOL_SIZE, or put a pooler in between",
        )
    url = settings.database_url or ""
    if not verifies_database_certificate(url):
        yield Finding(
            "warn", "PostgreSQL TLS", "the certificate is not checked; right is sslmode=verify-full"
        )
    elif is_encrypted:
        yield Finding("ok", "PostgreSQL TLS", "encrypted")
    else:
        yield Finding("ok", "PostgreSQL TLS", "the connection stays on this machine")


async def check_help_lines(connection: Connection) -> Finding:
    """Check that help lines are published, that operators made the list, and that somebody verifies its lines (H.1)."""
    if await connection.fetchval("SELECT to_regclass('help_line_versions')") is None:
        return Finding("warn", "help lines", "there is no table yet; run curhat migrate")
    current = await help_lines.find_current(connection)
    if current is None:
        return Finding("FAIL", "help lines", "none are published; run curhat seed")
    unverified = await help_lines.count_unverified(connection, max_days=MAX_VERIFIED_DAYS)
    if current.is_shipped:
        return Finding(
            "warn",
            "help lines",
            f"the list of the release is a draft, and nobody has called its {unverified} lines; call each, let a "
            "psychologist read the list, then publish it under Help lines in the Control Center",
        )
    if unverified:
        return Finding(
            "warn",
            "help lines",
            f"nobody has verified {unverified} of them for {MAX_VERIFIED_DAYS} days; call each, and publish the list",
        )
    return Finding("ok", "help lines", f"version {current.version}, verified within {MAX_VERIFIED_DAYS} days")


async def check_valkey(client: valkey.asyncio.Valkey) -> AsyncIterator[Finding]:
    """Check that a Valkey whose memory is full refuses writes, and does not evict mitras."""
    try:
        policy: str = (await client.config_get("maxmemory-policy"))["maxmemory-policy"]
    except ResponseError:
        return  # CONFIG is a command for administrators. Other users often lack it.
    if policy != "noeviction":
        yield Finding(
            "FAIL",
            "Valkey memory",
            f"a full Valkey forgets who is online ({policy}); set maxmemory-policy noeviction",
        )


def check_process(settings: Settings, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Check the limits of this process, its files of secrets, and its addresses on the internet."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < MIN_OPEN_FILES:
        yield Finding(
            "warn",
            "open files",
            f"at most {hard}, about one per person; set LimitNOFILE={MIN_OPEN_FILES} or more",
        )
    for name, path in environ.items():
        if name.startswith(PREFIX) and name.endswith(FILE_SUFFIX) and path:
            yield from _check_file(name, Path(path))
    yield from _check_senders(settings)
    yield Finding("ok", "push", _push_channels(settings))
    for risk in settings.allow_insecure:
        yield Finding("warn", "accepted risks", f"{risk}: {RISKS[risk]} ({PREFIX}ALLOW_INSECURE)")
    if settings.erasure_list is None:
        yield Finding(
            "warn",
            "list of erasures",
            f"set {PREFIX}ERASURE_LIST to a file outside the database, on another disk, and copy it with the backups; "
            "without it, a restore brings deleted accounts back",
        )
    if message := _shared_origins(settings):
        yield Finding("warn", "public origins", message)
    if settings.operations_host not in ("127.0.0.1", "::1", "localhost"):
        yield Finding(
            "warn",
            "operations port",
            f"it listens at {settings.operations_host}; let a firewall admit only those who watch",
        )


def _check_senders(settings: Settings) -> Iterator[Finding]:
    """Check who sends the one-time codes.

    If there is no sender, the check of the settings has already reported the problem.
    """
    senders = settings.code_senders
    if any(sender.startswith(FILE_SENDER) for sender in senders):
        yield Finding(
            "warn", "code senders", "codes are written to a file; whoever reads it can sign in as anyone"
        )
    elif len(senders) == 1:
        yield Finding(
            "warn", "code senders", f"only {senders[0]}; while it fails, nobody can sign in on a new device"
        )
    elif senders:
        limits = ", ".join(f"{region} {codes}" for region, codes in settings.codes_per_day.items())
        yield Finding("ok", "code senders", f"{', then '.join(senders)}; codes per day: {limits}")


def _push_channels(settings: Settings) -> str:
    if settings.fcm_service_account:
        return "browsers, and native apps by FCM"
    return f"browsers; native apps would need {PREFIX}FCM_SERVICE_ACCOUNT"


def check_backup_ages(folder: Path = METRICS_FOLDER, now: float | None = None) -> Iterator[Finding]:
    """Check the ages of the last successful backup and of the last successful restore drill.

    Each publishes a metric when it ends.
    """
    now = time.time() if now is None else now
    for subject, metric, max_days, state in AGES:
        completed_at = _published(folder / f"{metric}.prom", metric)
        if completed_at is None:
            yield Finding("warn", subject, f"its age is not known on this machine: {folder} has no {metric}")
            continue
        days = (now - completed_at) / SECONDS_PER_DAY
        if days > max_days:
            yield Finding(
                state, subject, f"the last one ended well {days:.1f} days ago; see docs/operating.md"
            )
        else:
            yield Finding("ok", subject, f"the last one ended well {days:.1f} days ago")


def _published(path: Path, metric: str) -> float | None:
    """Return the value of the metric in a file of node_exporter's textfile collector, or None."""
    with suppress(OSError, ValueError):
        for line in path.read_text().splitlines():
            name, _, value = line.partition(" ")
            if name == metric:
                return float(value)
    return None


def _shared_origins(settings: Settings) -> str | None:
    """Return a sentence if a page of one client could act with another client's cookie, and otherwise None."""
    roles: tuple[AnyRole, ...] = ("customer", "mitra", "operator")
    hosts = {urlsplit(origin).hostname for role in roles for origin in settings.origins_of(role)}
    if len(hosts) < len(roles):
        count = "one host" if len(hosts) == 1 else f"{len(hosts)} hosts"
        return f"{count} for three clients; with three, a fault in one cannot act with another's cookie"
    for one, other in itertools.combinations(roles, 2):
        if shared := set(settings.origins_of(one)) & set(settings.origins_of(other)):
            return (
                f"{min(shared)} may act as {one} and as {other}; give each client its own origins: "
                f"{', '.join(PREFIX + name for name in ROLE_ORIGINS)}"
            )
    return None


def _check_file(name: str, path: Path) -> Iterator[Finding]:
    try:
        mode = path.stat().st_mode
    except OSError:
        return  # The check of the settings reports this.
    if mode & (stat.S_IRWXG & ~stat.S_IRGRP | stat.S_IRWXO):
        yield Finding("FAIL", "secrets", f"others can use the file of {name}; run chmod 0400 {path}")
