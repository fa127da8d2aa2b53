"""Auth0: users of an export job, hashes from Auth0's support, and the tenant as the Deploy CLI writes it."""
