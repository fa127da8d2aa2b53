"""Every statement on the tables of keys, one module per table (docs/decisions/0045-repositories.md)."""
