"""The replay store: signed values that may be used once (client assertions, DPoP proofs, request objects)."""
