"""The command line of a campaign: a whole number for each of its knobs, the usual one where nobody says otherwise."""

import argparse
from typing import Any


def command_line(module: str, about: str | None, usual: Any, *knobs: str) -> argparse.ArgumentParser:
    """A parser for `python -m faults.<module>`, to which a campaign adds what is no number."""
    parser = argparse.ArgumentParser(prog=f"python -m faults.{module}", description=about)
    for name in knobs:
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=getattr(usual, name))
    return parser
