"""The statements on consents, token families and access tokens."""
