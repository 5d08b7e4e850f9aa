"""Posting to addresses that others gave us."""
