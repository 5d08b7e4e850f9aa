"""Fault campaigns: each breaks toybox on purpose and checks what must hold; each has a planted bug it must find."""
