"""The recipes for analysts: every command of the pages is run, and what the pages show is what it prints."""
