"""The audit: what operators, the command line and the system did. Entries are only ever appended."""
