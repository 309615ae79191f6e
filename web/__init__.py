"""The web floor: an HTTP API over the search engine, and the page that uses it."""
