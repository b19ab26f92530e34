"""What happens now: figures by plain SQL about money and sessions, and from Valkey about who is there."""
