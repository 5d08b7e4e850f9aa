"""Model providers behind the port of `commands/models.py`, and what their tokens cost."""
