"""Publishing: messages to whoever listens, and again to whoever missed some."""
