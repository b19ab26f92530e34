"""The audit: the actions of operators, the command line and the system. Entries are never changed or deleted."""
