"""Tests of reactions: as plain functions, and driven together over whole stories."""
