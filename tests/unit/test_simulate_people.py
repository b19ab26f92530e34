"""Test the people of a simulation. The same seed creates the same people with the same plans."""

import dataclasses

from curhat.accounts.phone import normalise
from curhat.dev.simulate.people import (
    CUSTOMER_PREFIX,
    MITRA_PREFIX,
    CustomerPlan,
    MitraPlan,
    plan_customers,
    plan_mitras,
    reception_of,
)

PHONES = [f"{MITRA_PREFIX}{number:07d}" for number in range(40)]


def customers(seed: int, *, first_number: int = 0, until_stopped: bool = False) -> list[CustomerPlan]:
    return plan_customers(seed, 200, first_number, 20, until_stopped=until_stopped)


def mitras(seed: int) -> list[MitraPlan]:
    return plan_mitras(seed, PHONES)


def test_the_same_seed_gives_the_same_plans() -> None:
    for one, same in zip(mitras(7), mitras(7), strict=True):
        assert one == same
        assert [one.reaction("Rio 1", times) for times in range(20)] == [
            same.reaction("Rio 1", times) for times in range(20)
        ]
        assert one.chatting("Rio 1") == same.chatting("Rio 1")
    for customer, again in zip(customers(7), customers(7), strict=True):
        assert customer == again
        assert [customer.journey(number) for number in range(5)] == [
            again.journey(number) for number in range(5)
        ]


def test_the_plan_of_a_customer_does_not_depend_on_the_number_of_earlier_customers() -> None:
    later = customers(7, first_number=5_000)
    for customer, same in zip(customers(7), later, strict=True):
        assert dataclasses.replace(same, phone_number=customer.phone_number) == customer
        assert customer.journey(1) == same.journey(1)


def test_different_seeds_give_different_plans() -> None:
    assert mitras(7) != mitras(8)
    assert [plan.journey(0) for plan in customers(7)] != [plan.journey(0) for plan in customers(8)]


def test_the_capacity_of_a_mitra_does_not_depend_on_the_seed() -> None:
    assert [plan.max_customers for plan in mitras(7)] == [plan.max_customers for plan in mitras(8)]


def test_each_person_has_a_different_valid_mobile_number() -> None:
    numbers = PHONES + [plan.phone_number for plan in customers(1, first_number=9_999_800)]
    assert len(set(numbers)) == 240
    assert [normalise(number) for number in numbers] == numbers
    assert not CUSTOMER_PREFIX.startswith(MITRA_PREFIX)


def test_every_mitra_rejects_some_customers_and_ignores_some_others() -> None:
    by_reception = {plan.reception: plan for plan in customers(1)}
    assert by_reception.keys() == {"usual", "rejected", "overlooked"}
    for reception, what in (("rejected", "reject"), ("overlooked", "ignore")):
        name = next(plan.name for plan in customers(1) if plan.reception == reception)
        assert reception_of(name) == reception
        assert {plan.reaction(name, 0).what for plan in mitras(1)} == {what}


def test_a_run_of_200_customers_has_every_kind_of_journey() -> None:
    journeys = [plan.journey(0) for plan in customers(1)]
    assert {journey.behaviour for journey in journeys} == {"approve", "decline", "slow", "lost", "double"}
    for manners in (
        {journey.open_manner for journey in journeys},
        {journey.confirm_manner for journey in journeys},
        {journey.end_manner for journey in journeys},
        {plan.reaction("Rio 1", times).manner for plan in mitras(1) for times in range(5)},
    ):
        assert manners == {"once", "repeated", "twice", "cut"}
    assert {plan.reaction("Rio 1", times).what for plan in mitras(1) for times in range(5)} == {
        "accept",
        "reject",
        "ignore",
    }
    assert any(journey.leaves for journey in journeys)
    assert any(journey.gives_up_after_seconds is not None for journey in journeys)
    assert {plan.journeys for plan in customers(1)} == {1, 2, 3}
    assert min(plan.journeys for plan in customers(1, until_stopped=True)) > 1_000


def test_a_run_of_200_customers_has_every_kind_of_return_and_extension() -> None:
    journeys = [plan.journey(1) for plan in customers(1)]
    assert {journey.comes_back for journey in journeys} == {True, False}
    assert {journey.popup_answer for journey in journeys} == {"take", "decline", "leave"}
    extensions = [journey.extension for journey in journeys if journey.extension is not None]
    assert {extension.behaviour for extension in extensions} == {
        "approve",
        "decline",
        "slow",
        "lost",
        "double",
    }
    assert {extension.manner for extension in extensions} == {"once", "repeated", "twice", "cut"}
    assert {extension.ends_meanwhile for extension in extensions} == {True, False}
    assert {extension.asks_twice for extension in extensions} == {True, False}
    every = {"accept", "reject", "ignore"}
    assert {
        plan.reaction("Rio 1", times, returning=True).what for plan in mitras(1) for times in range(5)
    } == every
    assert {plan.extension_reaction("Rio 1", times).what for plan in mitras(1) for times in range(5)} == every
