"""The two PostgreSQL roles of production: the owner migrates, and the serving role reads and writes rows.

Guarantees:
    The serving role owns nothing. The serving role can neither change the schema nor remove a trigger. On an
    append-only table, the serving role can only read and insert. An append-only table has a trigger of `forbid_change`.
    On `schema_migrations`, the serving role can only read.
    `prepare_database` and `grant_to_serving_role` change nothing when they run again.
Relies on:
    `make_roles` and `prepare_database` need an administrator's connection. `grant_to_serving_role` also works with the
    owner's connection.
"""

import base64
import hashlib
import hmac
import secrets
from typing import Final, NamedTuple

from curhat.kit.database import Connection, role_settings
from curhat.kit.server_urls import Login

_SCRAM_ITERATIONS: Final = 4096

_OUR_TABLES: Final = """
SELECT format('%I.%I', n.nspname, c.relname) AS name,
    c.relkind IN ('v', 'm') OR c.relname = 'schema_migrations' AS is_read_only,
    EXISTS (SELECT FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
            WHERE t.tgrelid = c.oid AND p.proname = 'forbid_change') AS is_append_only
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm') AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'
"""
_OUR_SCHEMAS: Final = """
SELECT format('%I', nspname) FROM pg_namespace
WHERE nspname <> 'information_schema' AND nspname NOT LIKE 'pg\\_%'
"""

# Returns the beginning of one ALTER statement for each object that does not belong to $1. PostgreSQL changes a column's
# sequence together with the table.
_FOREIGN_OBJECTS: Final = r"""
WITH schemas AS (SELECT oid FROM pg_namespace WHERE nspname <> 'information_schema' AND nspname NOT LIKE 'pg\_%'),
dependent AS (
    SELECT classid, objid FROM pg_depend WHERE deptype = 'e' OR deptype IN ('a', 'i') AND refobjsubid > 0
),
objects AS (
    SELECT 'pg_class'::regclass AS classid, oid AS objid, relowner AS owner_id, 'TABLE ' || oid::regclass AS named
    FROM pg_class WHERE relnamespace IN (SELECT oid FROM schemas) AND relkind IN ('r', 'p', 'v', 'm', 'S')
    UNION ALL
    SELECT 'pg_proc'::regclass, oid, proowner, 'ROUTINE ' || oid::regprocedure
    FROM pg_proc WHERE pronamespace IN (SELECT oid FROM schemas)
    UNION ALL
    SELECT 'pg_type'::regclass, oid, typowner, 'TYPE ' || oid::regtype
    FROM pg_type WHERE typnamespace IN (SELECT oid FROM schemas) AND typtype IN ('e', 'd', 'r')
    UNION ALL
    SELECT 'pg_namespace'::regclass, oid, nspowner, 'SCHEMA ' || oid::regnamespace
    FROM pg_namespace WHERE oid IN (SELECT oid FROM schemas) AND nspname <> 'public'
)
SELECT 'ALTER ' || named || ' OWNER TO ' FROM objects
WHERE owner_id <> (SELECT oid FROM pg_roles WHERE rolname = $1)
    AND (classid, objid) NOT IN (SELECT classid, objid FROM dependent)
"""

_ROLE_FAULTS: Final = f"""
WITH ours AS ({_OUR_TABLES}), me AS (SELECT * FROM pg_roles WHERE rolname = current_user)
SELECT
    rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls AS is_privileged,
    has_schema_privilege('public', 'CREATE') OR has_database_privilege(current_database(), 'CREATE') AS may_create,
    ARRAY(SELECT DISTINCT pg_get_userbyid(c.relowner)::text FROM pg_class c, ours
          WHERE c.oid = ours.name::regclass AND pg_has_role(c.relowner, 'MEMBER')) AS owners,
    ARRAY(SELECT name FROM ours WHERE is_append_only AND has_table_privilege(name, 'UPDATE, DELETE, TRUNCATE')
          ORDER BY name) AS changeable,
    ARRAY(SELECT name FROM ours WHERE NOT has_table_privilege(name, 'SELECT')
          OR NOT is_read_only AND NOT has_table_privilege(name, 'INSERT')
          OR NOT is_read_only AND NOT is_append_only AND NOT (has_table_privilege(name, 'UPDATE')
                                                             AND has_table_privilege(name, 'DELETE'))
          ORDER BY name) AS closed
FROM me
"""  # noqa: S608  the inserted text is a constant


class RoleError(Exception):
    """The roles cannot be made as the URLs say. The message gives the reason, and says what to do."""


class NamedLogin(NamedTuple):
    """A role's name, the role's database, and the password if there is one."""

    user: str
    password: str | None
    database: str


def checked_logins(owner: Login, serving: Login) -> tuple[NamedLogin, NamedLogin]:
    """Check that two URLs name two roles of one database. Raises RoleError."""
    if owner.user is None or serving.user is None or owner.database is None or serving.database is None:
        raise RoleError("both URLs must name a user and a database")
    if owner.user == serving.user:
        raise RoleError("both URLs name the same user; the owner and the serving role must be two roles")
    if owner.database != serving.database:
        raise RoleError("the two URLs name different databases")
    return (
        NamedLogin(owner.user, owner.password, owner.database),
        NamedLogin(serving.user, serving.password, serving.database),
    )


async def make_roles(admin: Connection, owner: NamedLogin, serving: NamedLogin) -> list[str]:
    """Make or correct both roles and the database. `admin` can be connected to any database of the server.

    Returns a sentence per step. Next, call `prepare_database` on a connection to the database.
    """
    done = []
    for role in (owner, serving):
        exists = await admin.fetchval("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", role.user)
        password = "" if role.password is None else f" PASSWORD {_literal(scram_verifier(role.password))}"
        await admin.execute(
            f"{'ALTER' if exists else 'CREATE'} ROLE {_name(role.user)} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE "
            f"NOREPLICATION NOBYPASSRLS{password}"
        )
        done.append(f"role {role.user}: {'corrected' if exists else 'made'}")
    # A pooler such as PgBouncer can drop the settings that a client sends when it connects, so set the settings on the
    # role, too.
    for statement in role_settings(serving.user):
        await admin.execute(statement)
    if not await admin.fetchval("SELECT rolsuper FROM pg_roles WHERE rolname = current_user"):
        # Only a member of the owner role can give a database to the owner role.
        await admin.execute(f"GRANT {_name(owner.user)} TO CURRENT_USER")
    if await admin.fetchval("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", owner.database):
        await admin.execute(f"ALTER DATABASE {_name(owner.database)} OWNER TO {_name(owner.user)}")
        done.append(f"database {owner.database}: it belongs to {owner.user}")
    else:
        await admin.execute(
            f"CREATE DATABASE {_name(owner.database)} OWNER {_name(owner.user)} ENCODING 'UTF8' TEMPLATE template0"
        )
        done.append(f"database {owner.database}: made, it belongs to {owner.user}")
    return done


async def prepare_database(admin: Connection, owner: str, serving: str) -> None:
    """Give everything in this database to `owner`, and let `serving` use it.

    `admin` is connected to the database. `serving` can immediately use every object that `owner` makes later, so that
    an old version can serve while `curhat migrate` runs.
    """
    owner_name, serving_name = _name(owner), _name(serving)
    database = _name(await admin.fetchval("SELECT current_database()"))
    async with admin.transaction():
        # These statements change an installation with one role to an installation with two roles.
        for (statement,) in await admin.fetch(_FOREIGN_OBJECTS, owner):
            await admin.execute(statement + owner_name)
        await admin.execute(f"REVOKE ALL ON DATABASE {database} FROM PUBLIC")
        await admin.execute(f"GRANT CONNECT ON DATABASE {database} TO {serving_name}")
        await admin.execute(f"REVOKE {owner_name} FROM {serving_name}")
        await admin.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        for privileges in (
            "SELECT, INSERT, UPDATE, DELETE ON TABLES",
            "USAGE, SELECT ON SEQUENCES",
            "USAGE ON SCHEMAS",
        ):
            await admin.execute(
                f"ALTER DEFAULT PRIVILEGES FOR ROLE {owner_name} GRANT {privileges} TO {serving_name}"
            )
    await grant_to_serving_role(admin, serving)


async def grant_to_serving_role(connection: Connection, serving: str) -> None:
    """Give the serving role its privileges on every table, and take all other privileges away.

    Raises RoleError if the role does not exist.
    """
    if not await connection.fetchval("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", serving):
        raise RoleError(f"there is no role {serving}; run curhat roles first")
    name = _name(serving)
    async with connection.transaction():
        for schema in [row[0] for row in await connection.fetch(_OUR_SCHEMAS)]:
            await connection.execute(f"GRANT USAGE ON SCHEMA {schema} TO {name}")
            await connection.execute(f"GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA {schema} TO {name}")
        for table, is_read_only, is_append_only in await connection.fetch(_OUR_TABLES):
            if is_read_only:
                allowed, refused = "SELECT", "INSERT, UPDATE, DELETE, "
            elif is_append_only:
                allowed, refused = "SELECT, INSERT", "UPDATE, DELETE, "
            else:
                allowed, refused = "SELECT, INSERT, UPDATE, DELETE", ""
            await connection.execute(f"REVOKE {refused}TRUNCATE, REFERENCES, TRIGGER ON {table} FROM {name}")
            await connection.execute(f"GRANT {allowed} ON {table} TO {name}")


async def serving_role_faults(connection: Connection) -> list[str]:
    """Return the reasons why the role of this connection must not be a serving role.

    An empty list means that the role can be a serving role.
    """
    found = await connection.fetchrow(_ROLE_FAULTS)
    assert found is not None  # Every connection has a role.
    is_privileged, may_create, owners, changeable, closed = found
    faults = []
    if is_privileged:
        faults.append("it may administer the server")
    if owners:
        faults.append(f"it can act as {', '.join(owners)}, who owns the tables")
    if may_create:
        faults.append("it may create objects in the database")
    if changeable:
        faults.append(f"it may change the append-only tables {', '.join(changeable)}")
    if closed:
        faults.append(f"it may not use the tables {', '.join(closed)}")
    return faults


def scram_verifier(password: str, salt: bytes | None = None) -> str:
    """Return the form in which PostgreSQL stores a password (RFC 5803).

    PostgreSQL can log a statement, so no statement contains the password itself. Raises RoleError if the password has
    characters other than ASCII, because PostgreSQL would normalise such characters before it stores the password.
    """
    if not password.isascii():
        raise RoleError("a password has other characters than ASCII; use the output of: openssl rand -hex 24")
    salt = secrets.token_bytes(16) if salt is None else salt
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, _SCRAM_ITERATIONS)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    parts = [
        base64.b64encode(part).decode() for part in (salt, hashlib.sha256(client_key).digest(), server_key)
    ]
    return f"SCRAM-SHA-256${_SCRAM_ITERATIONS}:{parts[0]}${parts[1]}:{parts[2]}"


def _name(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
