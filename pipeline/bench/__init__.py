"""Measurements that stay in the repository; each prints one JSON object as its last line."""
