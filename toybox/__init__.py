"""Plugs everything together: settings, wiring, command line."""
