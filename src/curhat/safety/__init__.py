"""Safety between two people: blocks, reports and their decisions, notices, ratings."""
