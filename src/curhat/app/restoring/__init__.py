"""Restores the database to an earlier time, and opens it again (`curhat restore`).

Guarantees:
    `recover` writes only into a new directory. The directory that PostgreSQL used before the restore does not change.
    No process serves a restored database before `finish` has opened it (kit/restored.py).
    An operator can interrupt and repeat `finish` at any point. A repeated step changes nothing.
    After `finish`, no device resumes an old event stream, nobody is signed in, and Valkey remembers nothing. Every
    charge and refund that only the gateway knows has a review case. So does each approval of a charge that had no final
    answer at the restored time. The invariants hold.
Relies on:
    An operator stops every server and worker before `finish`. While a server or worker is connected, `finish` refuses
    to run.
    The gateway lists its charges and refunds. The mock gateway's records are in the service's database, so a restore
    sets them back too. With CURHAT_MOCK_GATEWAY_DATABASE_URL, the mock gateway has its own database, which the restore
    does not change.
docs/decisions/0101-a-restored-database-is-closed-until-it-is-finished.md and
docs/decisions/0133-what-only-the-gateway-knows-after-a-restore.md give the reasons.
"""
