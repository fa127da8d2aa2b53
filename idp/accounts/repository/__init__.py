"""Every statement on the tables of accounts, one module per table (docs/decisions/0045-repositories.md)."""
