"""The peers are services with which we compare our figures. Nothing under src/ imports the peers."""
