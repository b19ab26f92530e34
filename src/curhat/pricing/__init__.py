"""Offers, quotes, and the rule about who may have the trial (2a.2, 2a.3).

Guarantees
    Only this package decides a price. A client sends only an offer's id.
    A customer has one trial. The customer uses up the trial when a trial session starts. A trial payment that is
    open, was abandoned, or found no mitra does not use up the trial.
    While a trial payment is open, the customer cannot open another payment, because a customer has one journey at a
    time. The refusal is `journey_in_progress`, which names the open payment. If the open payment ends without a
    session, the customer may try the trial again.
    The unique index `sessions_one_trial` enforces one trial per customer, even if this package has a bug.
Relies on
    The table `sessions`, which belongs to a higher package. Each trial session is a row of this table.
"""
