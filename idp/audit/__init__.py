"""The audit trail: events, signed checkpoints over them, verification, export and retention."""
