"""Faust: what of its inside we stand on."""
