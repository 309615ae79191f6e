"""Checking a home against itself and against the photos' files, and mending all of it that can be made again."""
