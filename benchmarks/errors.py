"""What ends one system's measurement, and not the others'."""


class UnavailableError(Exception):
    """A system cannot be measured here: one line that says what is missing and what to do."""


class WrongReplyError(Exception):
    """A system answered, but not what the whole model says: its figures are worth nothing."""
