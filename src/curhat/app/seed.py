"""Demo data for a newcomer: ten mitras, the price tiers; the five configuration rows come with the migrations."""

import asyncpg
import msgspec

from curhat.accounts.service import invite_mitra
from curhat.kit.database import Transaction
from curhat.kit.settings import Settings
from curhat.kit.signals import NoSignals
from curhat.pricing.service import seed_offers

DEMO_MITRA_NAMES = ("Sari", "Dewi", "Budi", "Rina", "Agus", "Maya", "Putri", "Joko", "Wulan", "Tono")


class DemoAccount(msgspec.Struct, frozen=True):
    """An account that anyone may try in development; the code is in the inbox."""

    role: str
    phone_number: str
    name: str
    note: str


async def seed(connection: "asyncpg.Connection[asyncpg.Record]", settings: Settings) -> list[DemoAccount]:
    """Write the price tiers, and in development the demo mitras. Repeated, nothing changes."""
    async with connection.transaction():
        tx = Transaction(connection, NoSignals())
        await seed_offers(tx)
        if not settings.is_development:
            return []
        accounts = []
        for number, name in enumerate(DEMO_MITRA_NAMES, start=1):
            phone_number = f"+62811000000{number:02d}"
            max_customers = 1 + number % 3
            await invite_mitra(tx, phone_number, f"Kak {name}", max_customers)
            accounts.append(
                DemoAccount("mitra", phone_number, f"Kak {name}", f"up to {max_customers} at once")
            )
        return accounts
