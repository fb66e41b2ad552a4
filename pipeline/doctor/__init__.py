"""Looks at a machine: what is there, how fast it is, and what to install to get what is missing."""
