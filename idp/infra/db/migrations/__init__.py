"""The migrations, as Piccolo generates them. Forward only: expand first, contract a release later."""
