"""The HTTP API: anonymous, forbidden, valid, conflict; queries and feeds on a real database."""
