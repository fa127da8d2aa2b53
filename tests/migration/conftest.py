"""Fixtures of tests of migrations."""

from tests.cli.conftest import own_cli
from tests.support.isolated import own_database

__all__ = ["own_cli", "own_database"]
