"""The release that runs here."""

from importlib.metadata import PackageNotFoundError, version


def _installed() -> str:
    try:
        return version("toybox")
    except PackageNotFoundError:  # the sources on a path, never installed
        return "0+source"


VERSION = _installed()
