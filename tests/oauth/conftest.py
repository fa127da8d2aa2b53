from tests.support.isolated import move_clock, own_database

__all__ = ["move_clock", "own_database"]
