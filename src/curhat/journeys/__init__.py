"""The steps of a journey that span packages.

`availability`  asks the package `presence` before a step.
`paying`        opens, confirms, cancels and expires payments.
`charging`      calls the gateway for a charge attempt, and records the gateway's answer.
`searching`     begins a search, accepts a request, cancels a search, takes a fallback.
`mitras`        changes a mitra's toggle, name, capacity or suspension, with the consequences for journeys.
`leaving`       ends a session for a member who leaves, and stores the member's report and block.
`renaming`      sends a new name to everybody who sees the old name.
`snapshot`      returns the whole state of a customer or a mitra.
`transitions`   has the transition of each deadline kind.
`push`          decides who gets a push, and when.
`single_flight` runs at most one accept of each pairing at a time within a process.

Guarantees:
    A search starts in only one way: the transaction that confirms a payment begins the search (2c.1).
    Only one accept per pairing wins. One statement writes the request, the pairing, the payment, the session, and the
    deadline of the session's end (2b.5).
    No transaction is open while a process calls the gateway. If a call or its answer is lost, a worker finishes the
    charge or the refund at a deadline.
    A member who leaves a session leaves it, even if the member's report or block is refused (T.5).
Relies on:
    The lower packages enforce their own rules.
    The row lock of the payment protects the whole journey.
"""
