"""The one kind of error that a user can mend: it tells the rule, what broke it, and what to do."""


class InputError(ValueError):
    """Input that breaks a rule; the message is one line and ends with what to do.

    Library code raises it wherever a genome, file, flag or device given from outside can't be used. The
    command line prints the message and exits with status 2.
    """
