from tests.support.migrations import add_migration

__all__ = ["add_migration"]
