"""What exists only in `--dev` mode: seed data, the start page, the demo client, captured mail."""
