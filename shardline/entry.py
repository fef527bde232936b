"""Entry point of the command `shardline`: Ctrl-C ends it without a traceback even while its modules are imported."""

import signal


def main() -> None:
    """Import and run the command. During the import SIGINT has its default action, which prints nothing."""
    handler = signal.getsignal(signal.SIGINT)
    if handler is signal.default_int_handler:  # a shell's background jobs ignore SIGINT, and go on doing so
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from shardline.__main__ import main as run

    signal.signal(signal.SIGINT, handler)
    run()


if __name__ == "__main__":
    main()
