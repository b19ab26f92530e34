"""Offers, quotes, and who may have the trial (2a.2, 2a.3).

Guarantees
    A price is only ever computed here, from an offer's id.
    One trial a customer: it is used up when a session of it starts, and not before. A trial payment that is open,
    that was left, or that found nobody does not use it up: while it is open, the rule of one journey at a time
    already refuses another (`journey_in_progress`, which says which one), and afterwards the customer may try again.
    Whatever is asked here, the database has the last word (`sessions_one_trial`).
Relies on
    The table `sessions`, read here although the room is above this one: what a trial is used up by is a row there.
"""
