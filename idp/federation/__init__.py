"""Sign-in with external identity providers."""
