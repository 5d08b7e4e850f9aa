"""Measurements of toybox beside what it is compared with, in one run on one server; never part of the tests."""
