"""The transmitter of the OpenID Shared Signals Framework 1.0: security event tokens about sessions and accounts.

``types`` says what an event of the audit trail is in CAEP and RISC, ``tokens`` makes the signed tokens, ``streams``
manages streams and subjects, ``endpoint`` has the routes.
"""
