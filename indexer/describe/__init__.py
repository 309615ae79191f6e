"""What is written about photos while they are indexed."""
