"""Who may ask for what, for the owner's eyes: built from private events."""
