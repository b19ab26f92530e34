"""The mock gateway (2a.1): for development, for tests, and for a production whose payments move no money yet.

It acts like an external service. A test can make it misbehave.

The mock keeps its records in the schema `mock_gateway`, and writes the records in its own transactions. So a crash or
rollback of the product does not undo these records. The product's own code never reads this schema.

Behaviours, each for charges and for refunds
    approve     immediately approves charges and carries out refunds
    decline     immediately declines charges and refuses refunds
    slow        approves, but gives the answer only SLOW_SECONDS later, through a callback or a query by key
    lost        approves, but the answer to the call never arrives; a query by key returns the answer
    double      immediately approves, and calls back twice with the same answer
    processing  does not decide: each charge and refund stays `processing` until the behaviour changes
    pending     immediately approves charges, and keeps each refund `processing` until the behaviour changes
When the behaviour of a payment changes, the mock decides what it has kept open: the new behaviour `decline` declines
and refuses, `processing` and `pending` decide as above, and every other behaviour approves. The mock then calls back.
"""
