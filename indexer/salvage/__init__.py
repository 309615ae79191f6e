"""Saving the rows of a catalog that SQLite refuses to read, page by page, into a new one."""
