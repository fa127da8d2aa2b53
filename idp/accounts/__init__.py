"""The person's record."""
