"""Grouping: from field maps to people."""
