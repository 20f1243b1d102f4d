"""A Qdrant server or cluster, through qdrant-client.

In reading order: `store` (names, versions, adoption), `reader`, `writer`, `connection` (errors and retries), `foreign`
and `payload_layouts` (collections of other programs), `verify`.
"""
