"""Offers, quotes, and the rule about who can have the trial (2a.2, 2a.3).

Guarantees:
    Only this package decides a price. A client sends only an offer's id.
    A customer has one trial. A trial session uses up the trial. A customer who cancels after the confirmation also uses
    up the trial. An open or abandoned trial payment does not use up the trial. A failed search does not use up the
    trial either, except if the customer cancelled it. A customer can confirm at most three trials in 24 hours (2a.9).
    While a trial payment is open, the customer cannot open another payment, because a customer has one journey at a
    time. The refusal is `journey_in_progress`, which names the open payment.
    Two constraints hold even if this package has a bug. These constraints are the unique index `sessions_one_trial` and
    the trigger `payments_trial_is_left`. The trigger refuses to confirm a trial that is used up.
Relies on:
    The database's function `trial_is_used` contains the rule about the trial. The function reads tables of higher
    packages.
"""
