"""The console script, also as ``python -m gputel``."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line, or say what to install when only the client of the queue is there."""
    try:
        from gputel.cli.main import main as run

        run()
    except ModuleNotFoundError as error:
        missing = (error.name or "gputel").partition(".")[0]
        if missing == "gputel":
            raise
        sys.exit(
            f"gputel: the package {missing} is missing. Without the extra `all`, an installation "
            "has only the client of the queue: pip install 'gputel[all]'"
        )


if __name__ == "__main__":
    main()
