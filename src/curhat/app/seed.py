"""Seed data: prices, help lines and drafts of the texts, and in development ten demo mitras and a demo admin."""

import msgspec

from curhat.accounts.service import invite_mitra
from curhat.content.help_lines.service import publish_shipped
from curhat.content.texts.service import seed_texts
from curhat.control_center.operators import passwords
from curhat.control_center.operators.service import create_operator, password_hash_of
from curhat.kit.database import Connection, Transaction
from curhat.kit.settings import Settings
from curhat.kit.signals import NoSignals
from curhat.pricing.service import seed_offers

DEMO_ADMIN = "admin@curhat.example"
DEMO_MITRA_NAMES = ("Sari", "Dewi", "Budi", "Rina", "Agus", "Maya", "Putri", "Joko", "Wulan", "Tono")


class DemoAccount(msgspec.Struct, frozen=True):
    """An account for trying the product in development.

    A mitra's one-time code arrives in the inbox. The admin's `note` contains the password.
    """

    role: str
    sign_in: str
    name: str
    note: str


async def seed(connection: Connection, settings: Settings) -> list[DemoAccount]:
    """Write the price tiers, the help lines and the drafts of the texts, and in development the demo accounts.

    A second run changes nothing.

    Returns the demo accounts.
    """
    async with connection.transaction():
        tx = Transaction(connection, NoSignals())
        await seed_offers(tx)
        await seed_texts(tx)
        await publish_shipped(tx)
        if not settings.is_development:
            return []
        accounts = []
        for number, first_name in enumerate(DEMO_MITRA_NAMES, start=1):
            name = f"Kak {first_name}"
            phone_number = f"+62811000000{number:02d}"
            max_customers = 1 + number % 3
            await invite_mitra(tx, phone_number, name, max_customers)
            accounts.append(DemoAccount("mitra", phone_number, name, f"up to {max_customers} at once"))
        return [*accounts, await _demo_admin(tx, settings)]


async def _demo_admin(tx: Transaction, settings: Settings) -> DemoAccount:
    """Create the demo admin if it does not exist.

    The password is derived from the secret key, so each start can print the password again.
    """
    password = passwords.derived(settings.secret_key, DEMO_ADMIN)
    password_hash = await password_hash_of(tx, DEMO_ADMIN)
    if password_hash is None:
        await create_operator(tx, DEMO_ADMIN, "admin", passwords.hashed(password), by="demo data")
    elif not passwords.is_right(password, password_hash):
        return DemoAccount("admin", DEMO_ADMIN, "Admin", "the password was changed")
    return DemoAccount("admin", DEMO_ADMIN, "Admin", f"password {password}")
