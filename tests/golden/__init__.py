"""Recorded examples that every release must still read: one of each event version, leaves, folds of aggregates."""
