"""Quantising a network: frames of the user's own, a gate on those that were held back, and an entry of the registry."""
