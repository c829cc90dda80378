"""The command line: one module per group of commands; `main` is the console script."""

from pagestream.cli.app import main

__all__ = ["main"]
