"""Trusted issuers: other servers whose tokens say who a person is (docs/trusted-issuers.md).

An administrator registers an issuer with its keys, the purposes of its tokens, the clients that may present them, and
whom their ``sub`` means here. Grants call :func:`idp.oauth.issuers.verification.verify_external`.
"""
