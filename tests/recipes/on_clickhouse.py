"""Statements on ClickHouse, in a process of its own: `python -m tests.recipes.on_clickhouse <statements.json`."""

import json
import sys
from tempfile import TemporaryDirectory

from chdb import session


def main() -> None:
    """Run them in order; print what each answers, as JSON."""
    with TemporaryDirectory() as folder:
        clickhouse = session.Session(folder)
        answers = [str(clickhouse.query(each, "PrettyCompactMonoBlock")) for each in json.load(sys.stdin)]
        clickhouse.close()
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
