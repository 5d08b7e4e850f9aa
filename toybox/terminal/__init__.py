"""The command line towards a person: consoles, errors in one line, the way to a server, the live view."""
