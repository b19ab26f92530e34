"""The mock gateway, for development and tests (2a.1). It acts like an external service. A test can make it misbehave.

The mock keeps its records in the schema `mock_gateway`, and writes the records in its own transactions. So a crash or
rollback of the product does not undo these records. The product's own code never reads this schema.

Behaviours
    approve   immediately approves
    decline   immediately declines charges and refuses refunds
    slow      approves, but gives the answer only SLOW_SECONDS later, through a callback or a query by key
    lost      approves, but the answer to the call never arrives; a query by key returns the answer
    double    immediately approves, and calls back twice with the same answer
"""
