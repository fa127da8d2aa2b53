"""The `idp` command, one file a command group."""
