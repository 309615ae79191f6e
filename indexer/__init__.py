"""From photo files to the catalog: scan, read, embed, record, publish."""
