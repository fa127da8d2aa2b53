"""Signing keys: life cycle, rotation, encryption at rest, and JOSE.

Call :data:`idp.keys.key_set.key_set` to sign and to read the JWKS, :mod:`idp.keys.lifecycle` to change keys,
:mod:`idp.keys.jose` for tokens, :mod:`idp.keys.vault` for other secrets at rest.
"""
