"""Every statement on the tables of accounts, a module a table (docs/decisions/0045-repositories.md)."""
