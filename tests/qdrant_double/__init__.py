"""What the test server says in Qdrant's own words: how a collection is described, refusals, limits."""
