"""Kill a worker with `kill -9` while it erases a deleted account. Another worker goes on (P.3)."""

import pytest

from curhat.kit.identity import Identity
from curhat.privacy.erasure import service as erasure
from tests.crashes.system import System, until

KEY = b"k" * 32


@pytest.mark.rule("P.3", "P.5")
async def test_an_erasure_goes_on_after_its_worker_was_killed_between_two_rooms(system: System) -> None:
    database = system.database
    customer, mitra = await system.make.customer("Melati"), await system.make.mitra(online=False)
    await database.execute(
        "INSERT INTO customer_notes (customer_id, mitra_id, text) VALUES ($1, $2, 'tentang Melati')",
        customer,
        mitra,
    )
    async with database.transaction() as tx:
        await erasure.delete_account(tx, KEY, Identity("customer", customer))

    async def is_due() -> None:
        # The erasure waits for a minute after the deletion, and after a crash for the next try.
        await database.execute("UPDATE erasures SET deleted_at = deleted_at - interval '1 hour'")
        await database.execute("UPDATE deadlines SET due_at = curhat_now() WHERE kind LIKE 'erasure%'")

    await is_due()
    killed = system.worker("killed")
    await killed.start("erasure.after_safety")
    await killed.killed()
    assert await database.fetchval("SELECT count(*) FROM customer_notes") == 1
    assert await database.fetchval("SELECT erased_at FROM erasures") is None
    await is_due()
    await system.worker("survivor").start()

    async def is_erased() -> bool:
        await is_due()
        return bool(await database.fetchval("SELECT erased_at IS NOT NULL FROM erasures"))

    await until(is_erased, 30)
    assert await database.fetchval("SELECT count(*) FROM customer_notes") == 0
