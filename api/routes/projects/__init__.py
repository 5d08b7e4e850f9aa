"""Projects over HTTP: made, led through their life, looked at, replayed."""
