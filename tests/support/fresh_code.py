"""Makes the fresh one-time code that some steps need in addition to a token."""

import secrets

from curhat.accounts import service
from curhat.accounts.requesters import Requester
from curhat.kit.identity import Role
from tests.support.server import Person
from tests.support.signed_in import SECRET_KEY, RunningServer


async def fresh_code(server: RunningServer, person: Person) -> dict[str, str]:
    """Make a code for the person's own phone. Returns the header of a request that uses the code."""
    phone = await server.database.fetchval("SELECT phone_number FROM people WHERE id = $1", person.id)
    role: Role = "customer" if person.role == "customer" else "mitra"
    requester = Requester(secrets.token_bytes(32), is_known_device=True)
    async with server.database.transaction() as tx:
        sent = await service.request_code(tx, SECRET_KEY.encode(), role, phone, requester)
    return {"X-Fresh-Code": f"{sent.request_id}:{sent.code}"}
