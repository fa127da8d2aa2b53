"""The account pages: profile, security, sessions, applications, data, and account recovery."""
