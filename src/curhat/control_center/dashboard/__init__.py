"""The dashboard: figures from PostgreSQL, and the numbers of connected and available mitras from Valkey."""
