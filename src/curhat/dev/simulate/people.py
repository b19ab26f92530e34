"""The people of a run, and the plan of each person.

Each decision depends only on the seed and the person, and not on time. So one seed always makes the same people with
the same plans, at any speed of the server.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

from curhat.accounts.service import invite_mitra
from curhat.kit.database import Database

# Each run reuses the mitras of earlier runs, and creates new customers.
MITRA_PREFIX = "+628119"
CUSTOMER_PREFIX = "+628118"

# More journeys than a customer can make before the run ends.
MANY_JOURNEYS = 1_000_000

MITRA_NAMES = ("Sekar", "Laras", "Bayu", "Intan", "Galih", "Nadia", "Reza", "Tiara", "Yoga", "Ayu")
CUSTOMER_NAMES = ("Bunga", "Rio", "Mega", "Dimas", "Citra", "Fajar", "Lia", "Hana", "Ilham", "Nisa")

# A client sends a command once, twice at the same time, again after its answer, or again after a lost answer. All
# repetitions of a command have the same Idempotency-Key.
Manner = Literal["once", "repeated", "twice", "cut"]
MANNERS: tuple[Manner, ...] = get_args(Manner)
# How the mock gateway treats a charge.
Behaviour = Literal["approve", "decline", "slow", "lost", "double"]
BEHAVIOURS: tuple[Behaviour, ...] = get_args(Behaviour)
# The reaction of a customer when the chosen mitra does not accept: take the fallback, decline the fallback, or ignore
# the popup.
PopupAnswer = Literal["take", "decline", "leave"]
POPUP_ANSWERS: tuple[PopupAnswer, ...] = get_args(PopupAnswer)
# How mitras treat a customer's request: each mitra decides separately, all mitras reject it, or all mitras ignore it. A
# mitra decides by the customer's call name, because a mitra knows nothing else about the customer.
Reception = Literal["usual", "rejected", "overlooked"]
RECEPTION_NAMES: dict[Reception, str] = {"rejected": "Ditolak", "overlooked": "Terlewat"}
# Of every 40 customers, mitras treat the customers with these indexes in an unusual way.
RECEPTIONS: dict[int, Reception] = {7: "rejected", 23: "overlooked"}

What = Literal["accept", "reject", "ignore"]
REACTIONS: tuple[What, ...] = get_args(What)
# The probability of each reaction to a request.
CHANCES: dict[Reception, tuple[int, int, int]] = {
    "usual": (86, 8, 6),
    "rejected": (0, 1, 0),
    "overlooked": (0, 0, 1),
}


class Reaction(NamedTuple):
    """The reaction of a mitra to a request or an extension."""

    what: What
    after_seconds: float
    manner: Manner = "once"
    too_late_too: bool = False  # answer even if the request has closed meanwhile
    once_more: bool = False  # accept a second time, with a new Idempotency-Key


@dataclass(frozen=True, slots=True)
class ExtensionPlan:
    """The way in which a customer requests an extension."""

    after_messages: int
    offer: float
    manner: Manner
    behaviour: Behaviour
    asks_twice: bool
    ends_meanwhile: bool  # end the session while the extension is open


@dataclass(frozen=True, slots=True)
class Chatting:
    """The plan of a person's chat in one session."""

    messages: int
    typing_seconds: float
    repeats: bool
    reads: bool
    ends_early: bool  # end the session without waiting for the other person's messages


@dataclass(frozen=True, slots=True)
class MitraPlan:
    """A mitra, and the plan of the mitra's work."""

    seed: int
    index: int
    phone_number: str
    name: str
    max_customers: int
    slow: bool = False
    devices: int = 1
    # The seconds between two network failures, and between two changes of the toggle. If the value is 0, the failure or
    # the change never happens.
    trouble_seconds: float = 0
    toggle_seconds: float = 0

    def reaction(self, call_name: str, times_seen: int, *, returning: bool = False) -> Reaction:
        """Return what this mitra does with the next request of this customer.

        `returning` is true if the request is targeted: the customer chose this mitra after a past chat.
        """
        dice = dice_of(f"{self.seed}/mitra {self.index}/{call_name}/{times_seen}")
        [what] = dice.choices(REACTIONS, (55, 25, 20) if returning else CHANCES[reception_of(call_name)])
        after_seconds = dice.uniform(0.4, 2.5) * (2.5 if self.slow else 1)
        return Reaction(what, after_seconds, _manner(dice), dice.random() < 0.15, dice.random() < 0.1)

    def extension_reaction(self, call_name: str, times_asked: int) -> Reaction:
        """Return what this mitra does with the next extension of this customer."""
        dice = dice_of(f"{self.seed}/mitra {self.index}/more time for {call_name}/{times_asked}")
        [what] = dice.choices(REACTIONS, (40, 20, 40))
        return Reaction(what, dice.uniform(0.3, 4), _manner(dice))

    def chatting(self, call_name: str) -> Chatting:
        """Return how this mitra chats with this customer."""
        return _chatting(dice_of(f"{self.seed}/mitra {self.index}/chat with {call_name}"), ends=0.06)


@dataclass(frozen=True, slots=True, kw_only=True)
class JourneyPlan:
    """The steps of a customer from the first screen to the end of the chat. The defaults make an uneventful journey."""

    hesitates_seconds: float
    comes_back: bool = False  # choose the mitra of the last chat, if there was a chat
    popup_answer: PopupAnswer = "decline"
    popup_manner: Manner = "once"
    extension: ExtensionPlan | None = None
    wants_trial: bool = False
    offer: float  # the position of the chosen offer in the list, from 0 to 1
    open_manner: Manner = "once"
    opens_a_second: bool = False
    leaves: bool = False
    behaviour: Behaviour = "approve"
    confirm_manner: Manner = "once"
    gives_up_after_seconds: float | None = None
    cancel_manner: Manner = "once"
    trouble: bool = False
    chatting: Chatting
    end_manner: Manner = "once"
    writes_after_the_end: bool = False
    rests_seconds: float


@dataclass(frozen=True, slots=True)
class CustomerPlan:
    """A customer, and the plan of the customer's journeys."""

    seed: int
    index: int
    phone_number: str
    name: str
    arrives_after_seconds: float
    reception: Reception = "usual"
    journeys: int = MANY_JOURNEYS
    mistypes_the_code: bool = False
    forgets_the_name: bool = False
    devices: int = 1

    def journey(self, number: int) -> JourneyPlan:
        """Return the plan of one journey."""
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
    """Return how mitras treat a customer of this name."""
    return next((each for each, name in RECEPTION_NAMES.items() if call_name.startswith(name)), "usual")


def plan_mitras(seed: int, phone_numbers: Sequence[str]) -> list[MitraPlan]:
    """Return the plans of a run's mitras."""
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
                # The capacity depends on the phone number, because the account keeps the capacity between runs.
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
    """Return the plans of a run's customers.

    With `until_stopped`, each customer begins new journeys until the run ends.
    """
    plans = []
    for index in range(count):
        dice = dice_of(f"{seed}/customer {index}")
        reception = RECEPTIONS.get(index % 40, "usual")
        first_name = RECEPTION_NAMES.get(reception, CUSTOMER_NAMES[index % len(CUSTOMER_NAMES)])
        plans.append(
            CustomerPlan(
                seed=seed,
                index=index,
                phone_number=f"{CUSTOMER_PREFIX}{first_number + index:07d}",
                name=f"{first_name} {index}",
                reception=reception,
                # A customer whom the mitras reject or ignore arrives at the beginning of the run. At the beginning of
                # the run, all mitras are still free, and can reject the request.
                arrives_after_seconds=dice.uniform(0, arrival_seconds) if reception == "usual" else 0,
                journeys=MANY_JOURNEYS
                if until_stopped
                else dice.randint(1, 3)
                if reception == "usual"
                else 1,
                mistypes_the_code=dice.random() < 0.1,
                forgets_the_name=dice.random() < 0.2,
                devices=2 if dice.random() < 0.1 else 1,
            )
        )
    return plans


async def invite(database: Database, plans: Sequence[MitraPlan]) -> None:
    """Invite these mitras. Mitra accounts from earlier runs do not change."""
    async with database.transaction() as tx:
        for plan in plans:
            await invite_mitra(tx, plan.phone_number, plan.name, plan.max_customers, by="curhat simulate")


def dice_of(name: str) -> random.Random:
    """Return a random generator that gives the same numbers for the same name."""
    return random.Random(name)  # noqa: S311  it generates no secret


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
