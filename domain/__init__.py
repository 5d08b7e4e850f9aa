"""What can happen and who decides it; no I/O."""
