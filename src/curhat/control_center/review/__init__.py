"""Failed pairings and review cases: who decides whether money goes back, once, and how it went."""
