"""Restores the database to an earlier time, and opens it again (`curhat restore`).

Guarantees
    `recover` writes only into a new directory. The directory that PostgreSQL used before stays as it is.
    No process serves a restored database before `finish` has opened it (kit/restored.py).
    `finish` may be interrupted and repeated at any point. A repeated step changes nothing.
    Afterwards no device resumes an old event stream, nobody is signed in, Valkey remembers nothing, every charge and
    refund that only the gateway knows has a review case, and the invariants hold.
Relies on
    The operator, who stops every server and worker first. `finish` refuses while one is connected.
    The gateway, which lists its charges and refunds. The mock gateway's records are in the service's database, and go
    back with it, unless CURHAT_MOCK_GATEWAY_DATABASE_URL names another database.
docs/decisions/0101-a-restored-database-is-closed-until-it-is-finished.md gives the reasons.
"""
