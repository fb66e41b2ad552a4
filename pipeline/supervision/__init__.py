"""Who starts the parts, watches them, starts them again, and stops them in order."""
