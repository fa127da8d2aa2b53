"""Administration: roles, the admin API and the console. The domain packages do the work."""
