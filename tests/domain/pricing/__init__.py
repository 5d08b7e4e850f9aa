"""Prices, bills and bounds."""
