"""`shardline request`: the same code as client/request.py."""

import typer

from shardline.client.request import main


def register(app: typer.Typer) -> None:
    app.command(
        epilog="Example: shardline request photo.jpg --url http://127.0.0.1:8080",
        add_help_option=False,
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    )(request)


def request(context: typer.Context) -> None:
    """Send pictures and show the replies; `shardline request --help` lists the options of client/request.py."""
    raise typer.Exit(main(context.args))
