"""Lets `python -m toybox` do what the console script does, where the script is not on the path."""

from toybox.cli import main

if __name__ == "__main__":
    main()
