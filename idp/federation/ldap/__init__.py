"""Sign-in with the passwords of an LDAP directory (RFC 4511): OpenLDAP, Active Directory and others.

:mod:`options` reads the configuration of an upstream of kind ``ldap``, :mod:`connection` speaks the protocol,
:mod:`pool` has the connections and knows when a directory does not respond, :mod:`entries`, :mod:`groups` and
:mod:`active_directory` read what it stores, and :mod:`authentication` verifies passwords
(docs/decisions/0087-ldap.md).
"""
