"""`python -m tests.support.vendors --port 0 --journal FILE`: prints its port, then serves until it is ended.

GET /_journal answers the journal; POST /_behaviours takes a list of behaviours, DELETE forgets them.
"""

import argparse
import sys
from pathlib import Path

from tests.support.vendors.app import KEY
from tests.support.vendors.server import VendorServer


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.support.vendors")
    parser.add_argument("--port", type=int, default=0, help="0 takes any free one")
    parser.add_argument("--journal", type=Path, help="append every request to this file, durably")
    parser.add_argument("--key", default=KEY, help="the API key to accept; empty accepts any")
    given = parser.parse_args()
    server = VendorServer(port=given.port, journal=given.journal, key=given.key or None)
    sys.stdout.write(f"{server.port}\n")
    sys.stdout.flush()
    server.run()


if __name__ == "__main__":
    main()
