"""The embedded PostgreSQL: private, durable, one per data directory, back after every kind of death."""
