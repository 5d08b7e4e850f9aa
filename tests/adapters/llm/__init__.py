"""Tests of the model providers and of the rates of their tokens."""
