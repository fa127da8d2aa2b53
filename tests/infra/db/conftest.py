from tests.support.isolated import empty_database, own_database
from tests.support.migrations import add_migration

__all__ = ["add_migration", "empty_database", "own_database"]
