"""Makes people, offers and payments for tests by writing the tables directly."""

import itertools
from uuid import UUID

from curhat.kit.database import Database


class Make:
    """Makes the rows that a test needs. Each method uses a default for a value that the test omits."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._phones = itertools.count(1)

    async def person(self) -> UUID:
        """Make a person with a unique phone number."""
        person_id: UUID = await self._database.fetchval(
            "INSERT INTO people (phone_number) VALUES ($1) RETURNING id", f"+6281300{next(self._phones):06d}"
        )
        return person_id

    async def customer(self, call_name: str = "Bunga", *, person_id: UUID | None = None) -> UUID:
        """Make a customer of this person, or of a new person."""
        person_id = person_id or await self.person()
        await self._database.execute(
            "INSERT INTO customers (id, call_name) VALUES ($1, $2)", person_id, call_name
        )
        return person_id

    async def mitra(
        self,
        display_name: str = "Kak Sari",
        *,
        online: bool = True,
        max_customers: int = 1,
        person_id: UUID | None = None,
    ) -> UUID:
        """Make a mitra of this person, or of a new person."""
        person_id = person_id or await self.person()
        await self._database.execute(
            "INSERT INTO mitras (id, display_name, online, max_customers) VALUES ($1, $2, $3, $4)",
            person_id,
            display_name,
            online,
            max_customers,
        )
        return person_id

    async def mitras(self, count: int, **properties: bool | int) -> list[UUID]:
        """Make several mitras with the same properties."""
        return [
            await self.mitra(
                f"Kak {number}",
                online=bool(properties.get("online", True)),
                max_customers=int(properties.get("max_customers", 1)),
            )
            for number in range(1, count + 1)
        ]

    async def offer(
        self, *, duration_minutes: int = 30, price_rp: int = 20_000, purpose: str = "session"
    ) -> UUID:
        """Return the offer with these terms. Creates the offer if it does not exist. An offer at Rp0 is the trial."""
        offer_id: UUID = await self._database.fetchval(
            """
            INSERT INTO offers (purpose, duration_minutes, price_rp, is_trial) VALUES ($1, $2, $3, $3 = 0)
            ON CONFLICT (purpose, duration_minutes, is_trial) WHERE withdrawn_at IS NULL
            DO UPDATE SET price_rp = excluded.price_rp
            RETURNING id
            """,
            purpose,
            duration_minutes,
            price_rp,
        )
        return offer_id

    async def confirmed_payment(
        self,
        customer_id: UUID,
        *,
        duration_minutes: int = 30,
        price_rp: int = 20_000,
        target_mitra_id: UUID | None = None,
    ) -> UUID:
        """Make a confirmed and charged payment without a pairing."""
        offer_id = await self.offer(duration_minutes=duration_minutes, price_rp=price_rp)
        payment_id: UUID = await self._database.fetchval(
            """
            INSERT INTO payments (customer_id, purpose, status, offer_id, duration_minutes, amount_rp, is_trial,
                target_mitra_id, expires_at, confirmed_at)
            VALUES ($1, 'session', 'confirmed', $2, $3, $4, $4 = 0, $5,
                curhat_now() + interval '20 minutes', curhat_now())
            RETURNING id
            """,
            customer_id,
            offer_id,
            duration_minutes,
            price_rp,
            target_mitra_id,
        )
        if price_rp:
            await self._database.execute(
                """
                INSERT INTO charge_attempts (payment_id, amount_rp, status, answered_at)
                VALUES ($1, $2, 'approved', curhat_now())
                """,
                payment_id,
                price_rp,
            )
        return payment_id
