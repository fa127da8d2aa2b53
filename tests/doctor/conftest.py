"""Databases for one test alone."""

from tests.support.isolated import empty_database, move_clock, own_database, use_master_key

__all__ = ["empty_database", "move_clock", "own_database", "use_master_key"]
