"""Clients and resource servers: their records, their registry, their authentication."""
