"""What can go wrong in a stage, each with what a user can do about it in its text."""


class StageError(Exception):
    """A stage could not do its work."""


class SourceError(StageError):
    """A recorded source could not be opened, gave nothing or ended early."""


class OutputError(StageError):
    """An output could not be written."""


class SettingsError(StageError):
    """A stage was asked for something that does not make sense."""
