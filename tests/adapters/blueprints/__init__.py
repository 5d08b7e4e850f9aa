"""Tests of the blueprint adapter."""
