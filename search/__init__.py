"""What is stored and how it is asked: models, catalog, vectors, query, ranking."""
