"""The one error that the command line reports as the user's mistake."""


class UserError(Exception):
    """A mistake of the user (a wrong file, setting or command): its message says what came and what to do.

    The command line prints the message alone and exits with code 2; anything else is a fault of minitx.
    """
