"""The dashboard: counts of what happens now, from PostgreSQL, and of who is connected and available, from Valkey."""
