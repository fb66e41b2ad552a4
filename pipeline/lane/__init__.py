"""A lane: one source from its decoder to its outputs."""
