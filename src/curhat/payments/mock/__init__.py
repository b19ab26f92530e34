"""The mock gateway (2a.1), for development, for tests, and for a production without real money.

The mock acts like an external service. A test can make the mock misbehave.

The mock keeps its records in the schema `mock_gateway`, and writes the records in its own transactions. So a crash or
rollback of the product does not undo these records. The product's own code never reads this schema.

Behaviours, each for charges and for refunds:
    `approve` immediately approves charges and carries out refunds.
    `decline` immediately declines charges and refuses refunds.
    `slow` approves, but gives the answer SLOW_SECONDS later, through a callback or a query by key.
    `lost` approves, but only a query by key returns the answer. The answer to the call never arrives.
    `double` immediately approves, and calls back twice with the same answer.
    `processing` decides nothing, so each charge and refund stays `processing` until the behaviour changes.
    `pending` immediately approves charges, and keeps each refund `processing` until the behaviour changes.
When the behaviour of a payment changes, the mock decides the open charges and refunds of the payment. The new behaviour
`decline` declines charges and refuses refunds. If the new behaviour is `processing` or `pending`, the mock decides as
described above. Every other behaviour approves. After the decision, the mock calls back.
"""
