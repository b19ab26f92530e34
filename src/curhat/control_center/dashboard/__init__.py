"""The dashboard: figures from PostgreSQL, and from Valkey how many mitras are connected and available."""
