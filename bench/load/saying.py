"""What every benchmark says in the same words: on what machine it ran, and whether it kept what was promised."""

import os


def machine() -> str:
    """How much else was going on when it began."""
    return f"{os.cpu_count()} processors, load average {os.getloadavg()[0]:.1f} before: trust the ratios"


def promise(text: str, *, kept: bool) -> str:
    """One line of the verdict. A shared machine keeps no promise about absolute figures."""
    return f"  {'kept  ' if kept else 'MISSED'}  {text}"
