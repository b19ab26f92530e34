"""What there is: payments with all that happened to them, sessions, customers and mitras."""
