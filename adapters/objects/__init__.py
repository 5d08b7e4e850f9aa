"""Content beside the log: addressed by the digest of its plaintext, sealed under its subject's key."""
