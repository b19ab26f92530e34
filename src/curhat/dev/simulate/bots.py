"""Simulated people for somebody who tries the product alone: mitras who accept and answer, customers who need to talk.

They keep going until they are stopped. A person goes first: a simulated mitra leaves a simulated customer to the mitra
whom somebody plays, and takes them only when nobody else does.
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
from curhat.dev.simulate.people import (
    Chatting,
    CustomerPlan,
    ExtensionReaction,
    JourneyPlan,
    MitraPlan,
    Reaction,
)
from curhat.dev.simulate.picture import Data
from curhat.dev.simulate.report import Tally
from curhat.kit.database import Database

log = structlog.get_logger(__name__)

MITRAS: Final = 3
CUSTOMERS: Final = 2
# Said of every one of them, so that nobody takes them for a person.
MARK: Final = " (bot)"
# Numbers of their own, the same in every run.
PHONE_PREFIX: Final = "+62811700000"
# How long a card of a simulated customer is left to a mitra whom somebody plays.
PEOPLE_FIRST_SECONDS: Final = 15.0
# How long a simulated customer waits for what a person types.
PATIENCE_SECONDS: Final = 30.0
RESTS_SECONDS: Final = 20.0
# One whose life broke off begins anew.
AGAIN_SECONDS: Final = 5.0

_CHATTING: Final = Chatting(messages=6, typing_seconds=2.5, repeats=False, reads=True, ends_early=False)


@dataclass(frozen=True, slots=True)
class BotMitraPlan(MitraPlan):
    """A mitra who takes everybody, answers each message, and gives more time."""

    def reaction(self, call_name: str, times_seen: int) -> Reaction:
        """Accepts: a person soon, a simulated customer when nobody else does."""
        soon = people.dice_of(f"{self.name}/{call_name}/{times_seen}").uniform(1.5, 4)
        wait_seconds = PEOPLE_FIRST_SECONDS if call_name.endswith(MARK) else soon
        return Reaction("accept", wait_seconds, "once", too_late_too=False, once_more=False)

    def reaction_to_a_return(self, call_name: str, times_seen: int) -> Reaction:
        """Accepts."""
        return self.reaction(call_name, times_seen)

    def extension_reaction(self, call_name: str, times_asked: int) -> ExtensionReaction:  # noqa: ARG002
        """Approves."""
        return ExtensionReaction("accept", 3, "once")

    def chatting(self, call_name: str) -> Chatting:  # noqa: ARG002
        """Types for a while, and never leaves."""
        return _CHATTING


@dataclass(frozen=True, slots=True)
class BotCustomerPlan(CustomerPlan):
    """A customer who comes back again and again, pays, talks, and ends the chat."""

    def journey(self, number: int) -> JourneyPlan:
        """Without any trouble."""
        return JourneyPlan(
            hesitates_seconds=2,
            comes_back=False,
            popup_answer="decline",
            popup_manner="once",
            extension=None,
            wants_trial=False,
            offer=people.dice_of(f"{self.name}/{number}").random(),
            open_manner="once",
            opens_a_second=False,
            leaves=False,
            behaviour="approve",
            confirm_manner="once",
            gives_up_after_seconds=None,
            cancel_manner="once",
            trouble=False,
            chatting=_CHATTING,
            end_manner="once",
            writes_after_the_end=False,
            rests_seconds=RESTS_SECONDS,
        )


class BotMitra(Mitra):
    """A simulated mitra that stays."""

    async def _react(self, card: Data) -> None:
        # Beside the other cards: one that is left to a person for a while keeps nobody else waiting.
        if self._tasks is not None:
            self._tasks.create_task(super()._react(card))


class BotCustomer(Customer):
    """A simulated customer that stays."""

    patience_seconds = PATIENCE_SECONDS

    async def _journey(self, plan: JourneyPlan, tasks: asyncio.TaskGroup) -> None:
        await self._end_what_is_left()
        await super()._journey(plan, tasks)

    async def _end_what_is_left(self) -> None:
        """What the last run, which was stopped in the middle, has left."""
        session, payment = self.picture.session, self.picture.payment
        if session is not None:
            await self.command(f"/sessions/{session['id']}/end", expected={"session_ended"})
        elif payment is not None and payment["status"] == "pending":
            await self.command(f"/payments/{payment['id']}/cancel", expected={"payment_expired"})


async def live(database: Database, http: aiohttp.ClientSession, url: str) -> None:
    """All of them, until cancelled."""
    run_state = RunState(http, url, Tally())
    plans = [_mitra_plan(index) for index in range(MITRAS)]
    await people.invite(database, plans)
    async with asyncio.TaskGroup() as tasks:
        for plan in plans:
            tasks.create_task(_keep(partial(BotMitra, run_state, plan)))
        for index in range(CUSTOMERS):
            tasks.create_task(_keep(partial(BotCustomer, run_state, _customer_plan(index))))


async def _keep(begin: Callable[[], Mitra | Customer]) -> None:
    """A life; when it breaks off (the server was away for long), another."""
    while True:
        person = begin()
        try:
            await person.live()
        except Exception as error:  # noqa: BLE001  whatever it was, somebody is to be there
            log.warning("bots.begins_anew", name=person.name, error=repr(error))
        await asyncio.sleep(AGAIN_SECONDS)


def _mitra_plan(index: int) -> BotMitraPlan:
    return BotMitraPlan(
        seed=0,
        index=index,
        phone_number=f"{PHONE_PREFIX}0{index}",
        name=f"Kak {people.MITRA_NAMES[index]}{MARK}",
        max_customers=3,
        slow=False,
        devices=1,
        trouble_seconds=0,
        toggle_seconds=0,
    )


def _customer_plan(index: int) -> BotCustomerPlan:
    return BotCustomerPlan(
        seed=0,
        index=index,
        phone_number=f"{PHONE_PREFIX}5{index}",
        name=f"{people.CUSTOMER_NAMES[index]}{MARK}",
        reception="usual",
        arrives_after_seconds=5 + RESTS_SECONDS * index,
        journeys=1_000_000,
        mistypes_the_code=False,
        forgets_the_name=False,
        devices=1,
    )
