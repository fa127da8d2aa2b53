"""One file a way to sign in."""
