"""Asks for the fresh one-time code that some steps need in addition to a token."""

from tests.support.server import Person
from tests.support.signed_in import RunningServer


async def fresh_code(server: RunningServer, person: Person) -> dict[str, str]:
    """Ask for a code to the person's own phone. Returns the header of a request that uses the code."""
    phone = await server.database.fetchval("SELECT phone_number FROM people WHERE id = $1", person.id)
    # The person's token shows that the request comes from the owner, so no limit for strangers counts.
    asked = await person.post("/auth/otp/request", {"phone": phone}, key="")
    assert asked.status_code == 202, asked.text
    inbox = await server.http.get("/api/dev/inbox", params={"phone": phone})
    return {"X-Fresh-Code": f"{asked.json()['request_id']}:{inbox.json()['messages'][0]['code']}"}
