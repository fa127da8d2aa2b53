"""Mail to users: composing, the outbox and SMTP."""
