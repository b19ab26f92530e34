"""What a process tells the machines and people that operate it: probes, status and metrics.

Guarantees
    `/livez` and `/readyz` never depend on PostgreSQL or Valkey once the process has become ready. So a partial fault
    never makes a proxy take every process out of service (decision 0092).
    `/status` and `/metrics` answer within a few seconds, also while PostgreSQL or Valkey does not answer.
    The port of a server or worker opens before anything else, and closes after everything else.
Files
    endpoints.py  the paths, and the port that serves them
    status.py     the checks of `/status`
    figures.py    the metrics that are read from PostgreSQL
"""
