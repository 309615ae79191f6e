"""The SQLite catalog: the one commit point of all state."""
