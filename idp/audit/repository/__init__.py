"""Every statement on the tables of the audit trail, one module per subject (docs/decisions/0045-repositories.md)."""
