"""What the answers look like: the documents of the OpenAPI description, and checked against it in tests."""
