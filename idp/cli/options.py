"""What options of several commands have in common."""

import rich_click as click

#: :data:`idp.keys.jose.ALGORITHMS`, by name, because importing that module would make every `--help` slow.
SIGNING_ALGORITHM = click.Choice(["RS256", "PS256", "ES256", "EdDSA", "Ed25519"])
