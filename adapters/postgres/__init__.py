"""The event log, its tables and the server under them, on PostgreSQL."""
