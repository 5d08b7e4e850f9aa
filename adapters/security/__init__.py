"""Sealing, keys and hashes, over the `cryptography` library."""
