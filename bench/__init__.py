"""The benchmarks.

Each file measures one claim about Curhat. A peer is a service with which we compare Curhat. If a claim has a peer, the
same run also measures the peer. See README.md.
"""
