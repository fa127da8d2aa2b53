"""The HTTP edge: routing and guards, errors, forms, cookies, pages. Used by modules with routes, never by services."""
