"""Engines that run a network: one file each, chosen by the device string."""
