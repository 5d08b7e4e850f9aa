"""Local HTTP servers that speak the protocols of model vendors, behave badly on demand and keep a journal."""
