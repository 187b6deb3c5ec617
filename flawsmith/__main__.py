"""`python -m flawsmith` is the `flawsmith` command."""

from __future__ import annotations

from flawsmith.cli import main

if __name__ == "__main__":
    main()
