"""What can be asked: rows and documents built from events."""
