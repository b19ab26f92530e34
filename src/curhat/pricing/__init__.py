"""Offers, quotes, and the rule about who may have the trial (2a.2, 2a.3).

Guarantees
    This package alone decides the price. A client sends only an offer's id.
    A customer has one trial. The trial is used up only when a trial session starts. A trial payment that is open, was
    abandoned, or found no mitra does not use it up.
    While a trial payment is open, the customer cannot open another one, because a customer has one journey at a time.
    The refusal is `journey_in_progress`, which names the open payment. Afterwards the customer may try again.
    The unique index `sessions_one_trial` enforces one trial per customer, even if this package has a bug.
Relies on
    The table `sessions` of a higher package: a trial session is a row there.
"""
