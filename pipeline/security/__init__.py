"""Who may connect: keys, the list of those that are allowed, and the gate that turns others away."""
