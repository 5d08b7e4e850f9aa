"""Everything that proves toybox; each folder mirrors a package."""
