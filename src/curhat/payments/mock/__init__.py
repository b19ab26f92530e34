"""The mock gateway, for development and tests. It acts as a third party. A test can make it misbehave (2a.1).

It keeps its records in the schema `mock_gateway`, and writes them in its own transactions. So a crash or rollback of
the product does not undo them. The product never reads that schema.

Behaviours
    approve   approves at once
    decline   declines charges and refuses refunds, at once
    slow      approves, but its answer is known only SLOW_SECONDS later, through a callback or a query by key
    lost      approves, but the answer to the call never arrives; a query by key finds it
    double    approves at once, and calls back twice with the same answer
"""
