"""The addresses of the API: a router for each subject."""
