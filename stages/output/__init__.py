"""Outputs: where ended frames and rendered pictures go."""
