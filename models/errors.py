"""What can go wrong with networks and engines, each with what a user can do about it in its text."""


class ModelError(Exception):
    """A network is unknown, missing, damaged or not allowed."""


class DamagedError(ModelError):
    """A network's file is here and is not the recorded one."""


class FetchError(ModelError):
    """A file cannot be had from where it is kept; `reason` says why without telling what to do."""

    def __init__(self, reason: str, advice: str) -> None:
        super().__init__(f"{reason}: {advice}")
        self.reason = reason


class EngineError(Exception):
    """An engine or device is missing, or cannot run this network."""


class InferenceError(EngineError):
    """One inference failed; `tickets` are the numbers that were given to `submit`, of all its pictures."""

    def __init__(self, tickets: tuple[int, ...], message: str) -> None:
        super().__init__(tickets, message)
        self.tickets = tickets
        self.message = message

    def __str__(self) -> str:
        """The message alone."""
        return self.message
