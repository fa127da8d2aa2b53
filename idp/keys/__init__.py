"""Signing keys: their life cycle, their encryption at rest, and all of JOSE."""
