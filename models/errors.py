"""What can go wrong with networks and engines, each with what a user can do about it in its text."""


class ModelError(Exception):
    """A network is unknown, missing, damaged or not allowed."""


class EngineError(Exception):
    """An engine or device is missing, or cannot run this network."""
