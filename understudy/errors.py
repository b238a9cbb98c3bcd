"""Every error raised on purpose, as one tree.

    UnderstudyError                 problem, remedy, code
    ├── BadInput                    what was sent cannot be used as it is
    │   ├── BadDefinition           a model file that cannot be trained from
    │   ├── BadRow                  a row that does not fit the signature
    │   ├── BadLabel                a label that cannot be that of the row it names
    │   ├── Unread                  a body in a form that is not read here
    │   ├── BadSettings             the environment says something impossible
    │   └── TooLarge                more bytes or rows than allowed
    ├── BundleRefused               bytes that are no bundle we may serve
    │   ├── DigestMismatch          bytes that are not what their name says
    │   └── UncheckedContent        parts that only our own training may bring
    ├── NotFound                    nothing has that name
    │   └── Expired                 it had, and is older than what is kept
    ├── Conflict                    true, but not now: the state has moved on
    │   ├── ConcurrentAppend        the log has moved past the expected position
    │   ├── NotTheChampion          another version serves than the caller expected
    │   ├── SignatureChanged        a version that would change what clients may send
    │   └── StaleClaim              a run that somebody else holds by now
    ├── Forbidden                   this role may not do that
    ├── Unauthenticated             no token, or one that is not known
    ├── NoGround                    a promotion that nothing recorded justifies
    ├── Unavailable                 try again later
    │   ├── NothingServes           no version has been promoted yet
    │   ├── ModelUnhealthy          its champion fails so badly that it is not asked for a while
    │   ├── Overloaded              more is asked than can be answered in time
    │   ├── TooMany                 more of one kind at once than there is room for
    │   ├── StorageUnavailable      the log or the store cannot be used at the moment
    │   └── StorageFull             no room left
    ├── LogTampered                 the log no longer extends what was read from it
    ├── NewerDatabase               written by a later release than this one
    ├── MissingExtra                an optional library is not installed
    ├── ModelFailed                 a healthy request, and a model that could not answer it
    │   └── NotFinite               it answered with what is no number
    ├── DeadlinePassed              a healthy request that was not answered in time
    ├── SourceFailed                the data could not be read
    └── DataRefused                 the data was read, and must not be trained on

Errors here know nothing of HTTP: `api/errors.py` maps classes to statuses. `code` is stable and made for machines;
`problem` and `remedy` are sentences for people and never hold a secret, a path of the server or what a client sent
beyond a short, escaped excerpt.
"""

from typing import ClassVar


class UnderstudyError(Exception):
    """Root of every error raised on purpose here."""

    code: ClassVar[str] = "error"

    def __init__(self, problem: str, *, remedy: str) -> None:
        super().__init__(f"{problem} {remedy}")
        self.problem, self.remedy = problem, remedy

    def __reduce__(self) -> tuple[object, ...]:
        """Keep `remedy` when the error crosses a process."""
        return _rebuild, (type(self), self.problem, self.remedy)


def _rebuild(kind: type[UnderstudyError], problem: str, remedy: str) -> UnderstudyError:
    return kind(problem, remedy=remedy)


class BadInput(UnderstudyError):
    code = "bad_input"


class BadDefinition(BadInput):
    code = "bad_definition"


class BadRow(BadInput):
    code = "bad_row"


class BadLabel(BadInput):
    code = "bad_label"


class Unread(BadInput):
    code = "unsupported_media_type"


class BadSettings(BadInput):
    code = "bad_settings"


class TooLarge(BadInput):
    code = "too_large"


class BundleRefused(UnderstudyError):
    code = "bundle_refused"


class DigestMismatch(BundleRefused):
    code = "digest_mismatch"


class UncheckedContent(BundleRefused):
    code = "unchecked_content"


class NotFound(UnderstudyError):
    code = "not_found"


class Expired(NotFound):
    code = "expired"


class Conflict(UnderstudyError):
    code = "conflict"


class ConcurrentAppend(Conflict):
    code = "concurrent_append"


class NotTheChampion(Conflict):
    code = "precondition_failed"


class SignatureChanged(Conflict):
    code = "schema_incompatible"


class StaleClaim(Conflict):
    code = "stale_claim"


class Forbidden(UnderstudyError):
    code = "forbidden"


class Unauthenticated(UnderstudyError):
    code = "unauthenticated"


class NoGround(UnderstudyError):
    code = "no_ground"


class Unavailable(UnderstudyError):
    code = "unavailable"


class NothingServes(Unavailable):
    code = "nothing_serves"


class Overloaded(Unavailable):
    code = "overloaded"


class ModelUnhealthy(Unavailable):
    code = "model_unhealthy"


class TooMany(Unavailable):
    code = "too_many"


class StorageUnavailable(Unavailable):
    code = "storage_unavailable"


class StorageFull(Unavailable):
    code = "storage_full"


class LogTampered(UnderstudyError):
    code = "log_tampered"


class NewerDatabase(UnderstudyError):
    code = "newer_database"


class MissingExtra(UnderstudyError):
    code = "missing_extra"


class ModelFailed(UnderstudyError):
    code = "model_error"


class NotFinite(ModelFailed):
    """Told as any other failure; it is counted by itself."""


class DeadlinePassed(UnderstudyError):
    code = "deadline"


class SourceFailed(UnderstudyError):
    code = "source_failed"


class DataRefused(UnderstudyError):
    code = "data_refused"
