"""Users: registration, verification of email addresses, recovery, passwords, profile and import."""
