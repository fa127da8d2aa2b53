"""Every statement on the tables of keys, a module a table (docs/decisions/0045-repositories.md)."""
