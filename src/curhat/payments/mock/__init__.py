"""The mock gateway, for development and tests: a third party that can be told to misbehave (2a.1).

It keeps its records in the schema `mock_gateway`, through connections and transactions of its own, as a third party
would: a crash or roll-back of ours does not undo them. The product never reads that schema.

Behaviours
    approve   approves at once
    decline   declines charges and refuses refunds, at once
    slow      approves, but the answer is known only SLOW_SECONDS later, by a call-back or by asking for the key
    lost      approves, and the answer to the call never arrives; asking for the key finds it
    double    approves at once, and calls back twice with the same answer
"""
