"""Commands of identity: who is let in, and with which permissions."""
