"""Bots let one person try both sides: mitras who accept and answer, and customers who need to talk.

The bots run until Ctrl-C. A bot mitra first leaves the card of a bot customer to human mitras. The bot mitra
accepts the card only if nobody else has accepted it.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import aiohttp
import structlog

from curhat.dev.simulate import people
from curhat.dev.simulate.client import RunState
from curhat.dev.simulate.customer import Customer
from curhat.dev.simulate.mitra import Mitra
from curhat.dev.simulate.people import Chatting, CustomerPlan, JourneyPlan, MitraPlan, Reaction
from curhat.dev.simulate.picture import Data
from curhat.dev.simulate.report import Tally
from curhat.kit.database import Database

log = structlog.get_logger(__name__)

MITRAS: Final = 3
CUSTOMERS: Final = 2
# Part of every bot's name, so that nobody mistakes a bot for a person.
MARK: Final = " (bot)"
# Only bots have phone numbers with this prefix. Every run of the bots uses the same phone numbers.
PHONE_PREFIX: Final = "+62811700000"
# A bot mitra leaves the card of a bot customer to human mitras for HUMANS_FIRST_SECONDS.
HUMANS_FIRST_SECONDS: Final = 15.0
# A bot customer waits for the next chat message of a human for ANSWER_TIMEOUT_SECONDS.
ANSWER_TIMEOUT_SECONDS: Final = 30.0
REST_SECONDS: Final = 20.0
RESTART_PAUSE_SECONDS: Final = 5.0

_CHATTING: Final = Chatting(messages=6, typing_seconds=2.5, repeats=False, reads=True, ends_early=False)


@dataclass(frozen=True, slots=True)
class BotMitraPlan(MitraPlan):
    """A mitra who accepts every request, answers every message, and approves every extension."""

    def reaction(self, call_name: str, times_seen: int, *, returning: bool = False) -> Reaction:  # noqa: ARG002
        """Accept a human customer's request soon. Accept a bot customer's request after HUMANS_FIRST_SECONDS."""
        soon = people.dice_of(f"{self.name}/{call_name}/{times_seen}").uniform(1.5, 4)
        return Reaction("accept", HUMANS_FIRST_SECONDS if call_name.endswith(MARK) else soon)

    def extension_reaction(self, call_name: str, times_asked: int) -> Reaction:  # noqa: ARG002
        """Approve every extension."""
        return Reaction("accept", 3)

    def chatting(self, call_name: str) -> Chatting:  # noqa: ARG002
        """Type slowly, and do not end the session."""
        return _CHATTING


@dataclass(frozen=True, slots=True)
class BotCustomerPlan(CustomerPlan):
    """A customer who pays, chats and ends the session, again and again."""

    def journey(self, number: int) -> JourneyPlan:
        """Return a journey without failures and repetitions."""
        return JourneyPlan(
            hesitates_seconds=2,
            offer=people.dice_of(f"{self.name}/{number}").random(),
            chatting=_CHATTING,
            rests_seconds=REST_SECONDS,
        )


class BotMitra(Mitra):
    """A bot mitra."""

    async def _react(self, card: Data) -> None:
        # Use a task per card. While this mitra leaves one card to humans, the other cards need not wait.
        self._tasks.create_task(super()._react(card))


class BotCustomer(Customer):
    """A bot customer."""

    answer_timeout_seconds = ANSWER_TIMEOUT_SECONDS

    async def _journey(self, plan: JourneyPlan, tasks: asyncio.TaskGroup) -> None:
        # Perhaps an earlier run left a session or a payment open.
        session, payment = self.picture.session, self.picture.payment
        if session is not None:
            await self.end_session(session["id"])
        elif payment is not None and payment["status"] == "pending":
            await self.command(f"/payments/{payment['id']}/cancel", expected={"payment_expired"})
        await super()._journey(plan, tasks)


async def live(database: Database, http: aiohttp.ClientSession, url: str) -> None:
    """Run all bots until cancelled."""
    run_state = RunState(http, url, Tally())
    plans = [
        BotMitraPlan(0, index, f"{PHONE_PREFIX}0{index}", f"Kak {name}{MARK}", max_customers=3)
        for index, name in enumerate(people.MITRA_NAMES[:MITRAS])
    ]
    await people.invite(database, plans)
    async with asyncio.TaskGroup() as tasks:
        for plan in plans:
            tasks.create_task(_keep_running(partial(BotMitra, run_state, plan)))
        for index, name in enumerate(people.CUSTOMER_NAMES[:CUSTOMERS]):
            arrives_after_seconds = 5 + REST_SECONDS * index
            customer = BotCustomerPlan(
                0, index, f"{PHONE_PREFIX}5{index}", f"{name}{MARK}", arrives_after_seconds
            )
            tasks.create_task(_keep_running(partial(BotCustomer, run_state, customer)))


async def _keep_running(begin: Callable[[], Mitra | Customer]) -> None:
    """Run one bot, and start the bot again when it fails, for example because the server was away for a long time."""
    while True:
        person = begin()
        try:
            await person.live()
        except Exception as error:  # noqa: BLE001  the bot must stay, whatever failed
            log.warning("bots.restarted", name=person.name, error=repr(error))
        await asyncio.sleep(RESTART_PAUSE_SECONDS)
