"""What goes wrong in a way that the user can mend. Each message is a sentence for the command line."""


class TrainingError(Exception):
    """The base of the others."""


class DatasetError(TrainingError):
    """A file without usable questions; the message names the line and the problem."""


class StudyError(TrainingError):
    """The folder lacks a file; the message names the command that writes it."""


class StoreError(TrainingError):
    """The file belongs to another profile, dataset or model; the message says which."""


class TooFew(TrainingError):
    """Too few questions, or all with the same outcome."""
