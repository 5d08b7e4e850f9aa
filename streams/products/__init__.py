"""Data products: topics that analysts read as tables, made from events and read models, under a contract each."""
