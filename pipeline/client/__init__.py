"""The client: listens to a publisher, and asks for what it missed."""
