"""What a collection is made of: its models, its legs, its documents; and edits to one that exists."""
