"""Storage: the engine and its pool, the embedded PostgreSQL, migrations and change notices."""
