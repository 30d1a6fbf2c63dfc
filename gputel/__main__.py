"""``python -m gputel`` runs the console script."""

from gputel.cli.main import main

if __name__ == "__main__":
    main()
