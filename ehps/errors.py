"""What can go wrong in the core, and whose fault it is."""


class EhpsError(Exception):
    """Root of every error that `ehps` raises."""


class ContentError(EhpsError):
    """A release, rule or policy file is wrong: the operator mends the file it names."""


class ContentMissing(EhpsError):
    """A control names content that this process does not hold: deploy the version that has it."""


class KernelFailed(EhpsError):
    """The kernel could not score a family: its facts are kept, and it is marked `unscored`."""


class InvariantBroken(EhpsError):
    """Something that cannot be happened: the process stops before it commits."""


class NothingInForce(InvariantBroken):
    """An authority has records and no control in force: nothing may be scored."""

    def __init__(self) -> None:
        """Say what to do."""
        super().__init__(
            "no control is in force in an authority that has records: write its first control"
        )
