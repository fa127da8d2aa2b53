"""Keycloak: the export of a realm (``kc.sh export``, version 26)."""
