"""Reports the state of a process to the machines and people that operate the process: probes, status and metrics.

Guarantees:
    After a process has become ready, `/livez` and `/readyz` no longer depend on PostgreSQL or Valkey. So a partial
    fault never makes a proxy take every process out of service (decision 0092).
    `/status` and `/metrics` answer within a few seconds, even while PostgreSQL or Valkey does not answer.
    The operations port of a server or worker opens before anything else, and closes after everything else.
Files:
    `endpoints.py` has the paths, and the port that serves these paths. `status.py` has the checks of `/status`.
    `figures.py` has the metrics that are read from PostgreSQL.
"""
