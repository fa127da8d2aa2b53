"""What people do with their own account: its pages, and the ways back into it."""
