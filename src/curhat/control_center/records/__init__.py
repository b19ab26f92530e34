"""Looking up payments with everything that happened to them, sessions, customers and mitras; managing mitras."""
