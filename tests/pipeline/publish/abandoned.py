"""A program: a head with a porch that tells the porch's process and waits to be killed."""

from __future__ import annotations

import sys
import time

from .stand import Stand


def main() -> None:
    """Stand there."""
    stand = Stand("tcp://127.0.0.1:*", replay="tcp://127.0.0.1:*", has_porch=True)
    sys.stdout.write(f"{stand.porch.pid}\n")
    sys.stdout.flush()
    time.sleep(600)


if __name__ == "__main__":
    main()
