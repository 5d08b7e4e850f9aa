"""The server process: one per data directory, found by its address file, stopped by a signal."""
