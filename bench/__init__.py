"""The benchmarks.

Each file measures one claim about Curhat. A peer is a service with which we compare Curhat. A run that measures a claim
also measures the claim's peers. See README.md.
"""
