"""The people of a run, and the plan of each person.

Each decision is drawn from the seed and the person, and does not depend on time. The same seed therefore makes the same
people with the same plans, however fast the server is.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from curhat.accounts.service import invite_mitra
from curhat.dev.simulate import queries
from curhat.kit.database import Database

# Every run uses the same mitras again, and new customers.
MITRA_PREFIX = "+628119"
CUSTOMER_PREFIX = "+628118"

MITRA_NAMES = ("Sekar", "Laras", "Bayu", "Intan", "Galih", "Nadia", "Reza", "Tiara", "Yoga", "Ayu")
CUSTOMER_NAMES = ("Bunga", "Rio", "Mega", "Dimas", "Citra", "Fajar", "Lia", "Hana", "Ilham", "Nisa")

# How a command is sent: once; again after its answer; twice at the same time; or again after the network was lost
# before the answer. The repetition has the same Idempotency-Key.
Manner = Literal["once", "repeated", "twice", "cut"]
MANNERS: tuple[Manner, ...] = ("once", "repeated", "twice", "cut")
Behaviour = Literal["approve", "decline", "slow", "lost", "double"]
BEHAVIOURS: tuple[Behaviour, ...] = ("approve", "decline", "slow", "lost", "double")
# What a customer does when their chosen mitra does not come: take the fallback, decline it, or ignore the popup.
PopupAnswer = Literal["take", "decline", "leave"]
POPUP_ANSWERS: tuple[PopupAnswer, ...] = ("take", "decline", "leave")
# How mitras treat a customer: each mitra decides, all reject, or none reacts. This depends on the call name, because
# a mitra knows nothing else about the customer.
Reception = Literal["usual", "rejected", "overlooked"]
RECEPTION_NAMES: dict[Reception, str] = {"rejected": "Ditolak", "overlooked": "Terlewat"}
# The customers, out of every forty, who are not treated as usual.
RECEPTIONS: dict[int, Reception] = {7: "rejected", 23: "overlooked"}

# What a mitra does with a request or an extension.
What = Literal["accept", "reject", "ignore"]
REACTIONS: tuple[What, ...] = ("accept", "reject", "ignore")


class Reaction(NamedTuple):
    """What a mitra does with a request."""

    what: What
    after_seconds: float
    manner: Manner
    # too_late_too: answer even if the request has closed meanwhile. once_more: accept a second time under a new key.
    too_late_too: bool
    once_more: bool


class ExtensionReaction(NamedTuple):
    """What a mitra does with an extension."""

    what: What
    after_seconds: float
    manner: Manner


@dataclass(frozen=True, slots=True)
class ExtensionPlan:
    """How a customer requests an extension."""

    after_messages: int
    offer: float
    manner: Manner
    behaviour: Behaviour
    asks_twice: bool
    # End the session while the extension is open.
    ends_meanwhile: bool


@dataclass(frozen=True, slots=True)
class Chatting:
    """How a person chats in one session."""

    messages: int
    typing_seconds: float
    repeats: bool
    reads: bool
    # End the session without waiting for the other person's messages.
    ends_early: bool


@dataclass(frozen=True, slots=True)
class MitraPlan:
    """A mitra, and how they work."""

    seed: int
    index: int
    phone_number: str
    name: str
    max_customers: int
    slow: bool
    devices: int
    # Seconds between two network failures, and between two changes of the toggle. 0: never.
    trouble_seconds: float
    toggle_seconds: float

    def reaction(self, call_name: str, times_seen: int) -> Reaction:
        """What this mitra does with the next request of this customer."""
        dice = dice_of(f"{self.seed}/mitra {self.index}/{call_name}/{times_seen}")
        after_seconds = dice.uniform(0.4, 2.5) * (2.5 if self.slow else 1)
        reception = reception_of(call_name)
        if reception == "overlooked":
            return Reaction("ignore", 0, "once", too_late_too=False, once_more=False)
        what: What
        if reception == "rejected":
            what = "reject"
        else:
            [what] = dice.choices(REACTIONS, (86, 8, 6))
        return Reaction(what, after_seconds, _manner(dice), dice.random() < 0.15, dice.random() < 0.1)

    def reaction_to_a_return(self, call_name: str, times_seen: int) -> Reaction:
        """What this mitra does with the targeted request of a customer from a past chat."""
        usual = self.reaction(call_name, times_seen)
        dice = dice_of(f"{self.seed}/mitra {self.index}/{call_name} again/{times_seen}")
        [what] = dice.choices(REACTIONS, (55, 25, 20))
        return usual._replace(what=what)

    def extension_reaction(self, call_name: str, times_asked: int) -> ExtensionReaction:
        """What this mitra does with the next extension of this customer."""
        dice = dice_of(f"{self.seed}/mitra {self.index}/more time for {call_name}/{times_asked}")
        [what] = dice.choices(REACTIONS, (40, 20, 40))
        return ExtensionReaction(what, dice.uniform(0.3, 4), _manner(dice))

    def chatting(self, call_name: str) -> Chatting:
        """How this mitra chats with this customer."""
        return _chatting(dice_of(f"{self.seed}/mitra {self.index}/chat with {call_name}"), ends=0.06)


@dataclass(frozen=True, slots=True)
class JourneyPlan:
    """What a customer does from the first screen to the end of the chat."""

    hesitates_seconds: float
    # Choose the mitra of the last chat, if there was one.
    comes_back: bool
    popup_answer: PopupAnswer
    popup_manner: Manner
    extension: ExtensionPlan | None
    wants_trial: bool
    offer: float
    open_manner: Manner
    opens_a_second: bool
    leaves: bool
    behaviour: Behaviour
    confirm_manner: Manner
    gives_up_after_seconds: float | None
    cancel_manner: Manner
    trouble: bool
    chatting: Chatting
    end_manner: Manner
    writes_after_the_end: bool
    rests_seconds: float


@dataclass(frozen=True, slots=True)
class CustomerPlan:
    """A customer, and how many journeys they make."""

    seed: int
    index: int
    phone_number: str
    name: str
    reception: Reception
    arrives_after_seconds: float
    journeys: int
    mistypes_the_code: bool
    forgets_the_name: bool
    devices: int

    def journey(self, number: int) -> JourneyPlan:
        """The plan of one journey."""
        dice = dice_of(f"{self.seed}/customer {self.index}/journey {number}")
        [behaviour] = dice.choices(BEHAVIOURS, (76, 8, 4, 4, 8))
        usual = self.reception == "usual"
        again = dice_of(f"{self.seed}/customer {self.index}/journey {number}/again")
        [popup_answer] = again.choices(POPUP_ANSWERS, (60, 25, 15))
        return JourneyPlan(
            hesitates_seconds=dice.uniform(0.2, 1.5),
            comes_back=again.random() < 0.75,
            popup_answer=popup_answer,
            popup_manner=_manner(again),
            extension=_extension(again) if again.random() < 0.45 else None,
            wants_trial=dice.random() < 0.4,
            offer=dice.random(),
            open_manner=_manner(dice),
            opens_a_second=dice.random() < 0.1,
            leaves=usual and dice.random() < 0.1,
            behaviour=behaviour,
            confirm_manner=_manner(dice),
            gives_up_after_seconds=dice.uniform(0.1, 4) if usual and dice.random() < 0.1 else None,
            cancel_manner=_manner(dice),
            trouble=dice.random() < 0.25,
            chatting=_chatting(dice, ends=0.3),
            end_manner=_manner(dice),
            writes_after_the_end=dice.random() < 0.3,
            rests_seconds=dice.uniform(0.5, 3),
        )


def reception_of(call_name: str) -> Reception:
    """How mitras treat a customer of this name."""
    for reception, name in RECEPTION_NAMES.items():
        if call_name.startswith(name):
            return reception
    return "usual"


def plan_mitras(seed: int, phone_numbers: Sequence[str]) -> list[MitraPlan]:
    """The mitras of a run."""
    plans = []
    for index, phone_number in enumerate(phone_numbers):
        dice = dice_of(f"{seed}/mitra {index}")
        number = int(phone_number.removeprefix(MITRA_PREFIX))
        plans.append(
            MitraPlan(
                seed=seed,
                index=index,
                phone_number=phone_number,
                name=f"Kak {MITRA_NAMES[number % len(MITRA_NAMES)]} {number}",
                # Derive this from the phone number, not from the seed, because the account keeps its capacity between
                # runs.
                max_customers=1 + number % 3,
                slow=dice.random() < 0.15,
                devices=2 if dice.random() < 0.2 else 1,
                trouble_seconds=dice.uniform(8, 25) if dice.random() < 0.6 else 0,
                toggle_seconds=dice.uniform(10, 30) if dice.random() < 0.3 else 0,
            )
        )
    return plans


def plan_customers(
    seed: int, count: int, first_number: int, arrival_seconds: float, *, until_stopped: bool
) -> list[CustomerPlan]:
    """The customers of a run. With `until_stopped` they begin new journeys until the run ends."""
    plans = []
    for index in range(count):
        dice = dice_of(f"{seed}/customer {index}")
        reception = RECEPTIONS.get(index % 40, "usual")
        names = CUSTOMER_NAMES[index % len(CUSTOMER_NAMES)]
        plans.append(
            CustomerPlan(
                seed=seed,
                index=index,
                phone_number=f"{CUSTOMER_PREFIX}{first_number + index:07d}",
                name=f"{RECEPTION_NAMES.get(reception, names)} {index}",
                reception=reception,
                # These arrive first, while all mitras are free to reject them.
                arrives_after_seconds=0 if reception != "usual" else dice.uniform(0, arrival_seconds),
                journeys=1_000_000 if until_stopped else 1 if reception != "usual" else dice.randint(1, 3),
                mistypes_the_code=dice.random() < 0.1,
                forgets_the_name=dice.random() < 0.2,
                devices=2 if dice.random() < 0.1 else 1,
            )
        )
    return plans


async def find_phones(database: Database, mitras: int) -> tuple[list[str], int]:
    """The phone numbers of this run's mitras, and the first number for its customers."""
    return (
        await queries.find_free_mitra_phones(database, prefix=MITRA_PREFIX, max_phones=mitras),
        await queries.find_next_customer_number(database, prefix=CUSTOMER_PREFIX),
    )


async def invite(database: Database, plans: Sequence[MitraPlan]) -> None:
    """Invite these mitras. Mitras of earlier runs do not change."""
    async with database.transaction() as tx:
        for plan in plans:
            await invite_mitra(tx, plan.phone_number, plan.name, plan.max_customers, by="curhat simulate")


def dice_of(name: str) -> random.Random:
    """A random generator that gives the same numbers for the same name."""
    return random.Random(name)  # noqa: S311  it makes no secret


def _manner(dice: random.Random) -> Manner:
    return dice.choices(MANNERS, (70, 12, 9, 9))[0]


def _chatting(dice: random.Random, *, ends: float) -> Chatting:
    return Chatting(
        messages=dice.randint(2, 5),
        typing_seconds=dice.uniform(0.2, 1.2),
        repeats=dice.random() < 0.2,
        reads=dice.random() < 0.8,
        ends_early=dice.random() < ends,
    )


def _extension(dice: random.Random) -> ExtensionPlan:
    [behaviour] = dice.choices(BEHAVIOURS, (70, 10, 6, 6, 8))
    return ExtensionPlan(
        after_messages=dice.randint(0, 1),
        offer=dice.random(),
        manner=_manner(dice),
        behaviour=behaviour,
        asks_twice=dice.random() < 0.2,
        ends_meanwhile=dice.random() < 0.12,
    )
