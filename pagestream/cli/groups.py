"""Commands that belong together below one word: `pagestream sink describe`."""

import typer


def add_group(app: typer.Typer, name: str, panel: str, about: str) -> typer.Typer:
    """Add a group to a panel of the help, and return it: its commands are still to be added."""
    group = typer.Typer(help=about, no_args_is_help=True, rich_markup_mode="markdown")
    app.add_typer(group, name=name, rich_help_panel=panel)
    return group
