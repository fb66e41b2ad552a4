"""A handler for the tests' web server."""

from __future__ import annotations

from http.server import SimpleHTTPRequestHandler


class QuietFiles(SimpleHTTPRequestHandler):
    """Serves files without a log."""

    def log_message(self, *args):
        """Say nothing."""
