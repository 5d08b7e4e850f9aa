"""The libraries behind the ports."""
