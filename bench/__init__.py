"""The benchmarks. Each file measures one claim about Curhat. If the claim has a peer (a service to compare with), the
same run also measures the peer. See README.md.
"""
