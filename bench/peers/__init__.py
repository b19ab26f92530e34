"""The peers: services to compare our figures with. Nothing under src/ imports the peers."""
