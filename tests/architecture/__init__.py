"""Checks on the repository itself: layout, packaging, generated pages, text."""
