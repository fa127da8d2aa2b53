"""Databases for one test alone, and SMTP servers."""

from tests.mail.conftest import certificate, start_smtp
from tests.support.isolated import empty_database, move_clock, own_database, use_master_key

__all__ = ["certificate", "empty_database", "move_clock", "own_database", "start_smtp", "use_master_key"]
