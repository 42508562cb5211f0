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
