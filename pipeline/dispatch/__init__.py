"""The dispatcher: who works on what, so that nothing is lost."""
