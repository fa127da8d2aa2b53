"""Signing in with accounts elsewhere."""
