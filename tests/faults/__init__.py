"""Tests of the fault campaigns: short slices of each, and proof that each finds its planted bug."""
