"""What can go wrong with networks and engines, each with what a user can do about it in its text."""


class ModelError(Exception):
    """A network is unknown, missing, damaged or not allowed."""


class EngineError(Exception):
    """An engine or device is missing, or cannot run this network."""


class InferenceError(EngineError):
    """One inference failed; `ticket` is the number that was given to `submit`."""

    def __init__(self, ticket: int, message: str) -> None:
        super().__init__(ticket, message)
        self.ticket = ticket
        self.message = message

    def __str__(self) -> str:
        """The message alone."""
        return self.message
