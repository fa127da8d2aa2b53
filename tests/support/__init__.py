"""What the tests share: a real server in a process of its own, and a browser without a screen."""
