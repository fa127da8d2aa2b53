"""The migrations, run by Piccolo. Forward only: expand first, contract a release later (docs/migrations.md)."""
