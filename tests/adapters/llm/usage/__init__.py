"""Usage of each protocol as disjoint buckets."""
