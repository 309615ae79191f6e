"""Milvus: vectors, filter fields and captions of a library in a collection, for any number of nodes to answer from."""
