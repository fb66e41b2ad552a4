"""The command line: `python run_pipeline.py demo` is a good beginning."""

import sys

from posestream.pipeline.commands import main

if __name__ == "__main__":
    sys.exit(main())
