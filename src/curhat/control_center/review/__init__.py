"""Failed pairings and review cases: an operator decides once whether a payment is refunded, and sees how that went."""
