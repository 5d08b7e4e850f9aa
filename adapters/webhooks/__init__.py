"""Posting to addresses that others gave us, without being led into our own network."""
