"""Failed pairings and review cases.

An operator decides whether to refund what was taken and not delivered, once for each charge, and sees what became of
the refund. If more money of the same payment is not delivered, the case opens again.
"""
