"""A real PostgreSQL that toybox starts for itself: the default when no database is named."""

from adapters.postgres.embedded.folders import default_data_dir, make_data_dir
from adapters.postgres.embedded.joining import running_conninfo
from adapters.postgres.embedded.server import EmbeddedPostgres

__all__ = ["EmbeddedPostgres", "default_data_dir", "make_data_dir", "running_conninfo"]
