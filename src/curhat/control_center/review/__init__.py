"""Failed pairings and review cases.

A review case is about charges that were taken and not delivered. An operator decides once for each charge whether to
refund the charge, and then sees the outcome of the refund. If another charge of the same payment is not delivered, the
case opens again.
"""
