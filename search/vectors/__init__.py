"""Vector indexes and their published generations."""
