"""Fixtures of tests of configuration files."""

from tests.support.configuration import secrets
from tests.support.isolated import own_database

__all__ = ["own_database", "secrets"]
