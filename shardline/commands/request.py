"""The command `shardline request`, which is client/request.py."""

import typer

from shardline.client.request import main


def register(app: typer.Typer) -> None:
    app.command(
        epilog="Example: shardline request photo.jpg --url http://127.0.0.1:8080",
        add_help_option=False,
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    )(request)


def request(context: typer.Context) -> None:
    """Send pictures to a served model and show the predictions."""
    raise typer.Exit(main(context.args))
