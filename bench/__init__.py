"""The benchmarks. Each file measures one claim about Curhat. If the claim has a peer, the same run measures the peer.
See README.md.
"""
