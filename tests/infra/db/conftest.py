from tests.support.isolated import empty_database, own_database

__all__ = ["empty_database", "own_database"]
