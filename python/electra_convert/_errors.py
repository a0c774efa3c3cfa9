"""Exceptions. Each kind of error has the exit code that the program has for it."""


class ConvertError(Exception):
    """A command failed. The message is what the program prints.

    ``exit_code`` is the exit code of the program for this kind of error.
    """

    exit_code: int = 1


class FailureError(ConvertError):
    """An I/O error, or an internal one (exit code 1)."""

    exit_code = 1


class UsageError(ConvertError):
    """An argument is wrong, or the output directory has such files already (exit code 2)."""

    exit_code = 2


class CheckpointError(ConvertError):
    """The checkpoint is missing, corrupt or of an unsupported kind (exit code 3)."""

    exit_code = 3


class ModelError(ConvertError):
    """This model cannot be exported from the checkpoint (exit code 4)."""

    exit_code = 4


class VerificationError(ConvertError):
    """Verification failed; nothing was published (exit code 5).

    ``verification`` is a `Verification` with the checks, or None if no check could run.
    """

    exit_code = 5

    def __init__(self, message="", verification=None):
        super().__init__(message, verification)
        self.verification = verification

    def __str__(self):
        return self.args[0]


BY_EXIT_CODE = {
    error.exit_code: error
    for error in (FailureError, UsageError, CheckpointError, ModelError, VerificationError)
}


class ConversionWarning(UserWarning):
    """What the user should know although nothing failed."""
