"""What operators, the command line and the system did: append only."""
