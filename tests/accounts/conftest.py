from tests.support.isolated import own_database

__all__ = ["own_database"]
