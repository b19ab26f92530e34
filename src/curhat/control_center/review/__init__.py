"""Failed pairings and review cases.

An operator decides once whether to refund a payment, and sees what became of the refund.
"""
