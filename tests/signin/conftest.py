"""Attributes that end with the test."""

from tests.support.attributes import declare

__all__ = ["declare"]
