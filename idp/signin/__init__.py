"""The user at the browser: sign-in flows and sessions. Knows nothing of OAuth."""
