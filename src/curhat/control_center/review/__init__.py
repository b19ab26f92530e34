"""Failed pairings and review cases. An operator decides once whether a payment is refunded, and sees the result."""
