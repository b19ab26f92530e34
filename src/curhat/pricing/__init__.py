"""Offers, quotes, and who may have the trial (2a.2, 2a.3).

Guarantees
    Every price is computed here, from an offer's id.
    A customer has one trial. It is used up when a trial session starts, and not before. A trial payment that is open,
    was abandoned or found no mitra does not use it up. While such a payment is open, the rule of one journey at a time
    refuses another one (`journey_in_progress`, which names it). Afterwards the customer may try again. The unique
    index `sessions_one_trial` enforces this whatever the answers here were.
Relies on
    The table `sessions` of a package above this one: a trial session is a row there.
"""
