"""Answers to events: one reaction a file, named as a sentence."""
