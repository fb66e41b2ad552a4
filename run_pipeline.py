"""The command line: `python run_pipeline.py demo` is a good beginning."""

from posestream.pipeline.commands import entry

if __name__ == "__main__":
    entry()
