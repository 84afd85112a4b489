"""The program `biasmir`, also as `python -m biasmir_utils`."""

import os
import sys


def run() -> None:
    """Run the command line; Ctrl-C ends it with one line from its first import on."""
    sys.path.append(os.getcwd())  # for modules that are named on the command line
    try:
        from biasmir_utils.cli import main

        main(prog_name="biasmir")
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    run()
