"""Shared by the tests: a real server in a separate process, and a browser without a screen."""
