"""Judges of money: they read the log and nothing else."""
