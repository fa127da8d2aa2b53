"""Every statement on the tables of the audit trail, a module a subject (docs/decisions/0045-repositories.md)."""
