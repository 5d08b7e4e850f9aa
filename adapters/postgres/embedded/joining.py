"""How a second process of the same account reaches an embedded server that another one runs."""

from pathlib import Path

from adapters.postgres.embedded.account import server_account
from adapters.postgres.embedded.cluster import ROLE, Cluster
from adapters.postgres.embedded.folders import SOCKET
from adapters.postgres.embedded.postmaster import DATABASE


def running_conninfo(data_dir: Path) -> str | None:
    """Its connection string, without a password; None while no server has its socket there."""
    from psycopg.conninfo import make_conninfo

    folder, cluster = (data_dir / "postgres.run").resolve(), Cluster(data_dir)
    if not (folder / SOCKET).exists():
        return None
    account = server_account(cluster.path)
    password = {} if account.is_ours else {"passfile": str(cluster.password_file)}
    return make_conninfo("", host=str(folder), port=5432, user=ROLE, dbname=DATABASE, **password)
