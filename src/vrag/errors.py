"""Every error that vrag raises on purpose.

    VragError
    ├── UsageError            the caller asked for what can't be done: a bad option, an unknown name
    │   └── ConfigError       a recipe or override that doesn't validate
    ├── DocumentError         one file or page can't be used; the others go on
    │   ├── UnreadableDocument   damaged, encrypted, empty, not what its name says
    │   ├── UnsupportedFormat    no reader for this kind of file
    │   └── BudgetExceeded       too large in pixels or points, or too slow
    ├── CorpusError           the store as a whole: missing, locked, disk full, written by a newer version
    ├── DataError             a task file or a row of it
    ├── InfrastructureError   a retriever, a model server or a judge failed: never a wrong answer
    ├── CheckpointError       a checkpoint is missing, incomplete or of another model
    └── InvariantError        a bug in vrag: an episode whose tokens, mask and images disagree

Each message names the file, page or sample, what is wrong with it, and what to do.
"""


class VragError(Exception):
    """Base of the tree; the command line prints its message and exits with `exit_code`."""

    exit_code = 1


class UsageError(VragError):
    exit_code = 2


class ConfigError(UsageError):
    pass


class DocumentError(VragError):
    pass


class UnreadableDocument(DocumentError):
    pass


class UnsupportedFormat(DocumentError):
    pass


class BudgetExceeded(DocumentError):
    pass


class CorpusError(VragError):
    pass


class DataError(VragError):
    pass


class InfrastructureError(VragError):
    pass


class CheckpointError(VragError):
    pass


class InvariantError(VragError):
    pass
