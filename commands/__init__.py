"""What may be asked for: load, decide, append."""
