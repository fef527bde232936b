"""Exception classes of Shardline, as a tree, each with the HTTP status that a server returns.

    ShardlineError                 500
    ├── RequestError               400   the request is invalid
    │   ├── PictureError           400   an instance is not a picture that can be decoded
    │   ├── FrameError             400   a frame is corrupt or of the wrong dtype or shape
    │   ├── ForbiddenError         403   a request to load or unload a model, which every server refuses
    │   ├── RequestTimeoutError    408   headers or a body that arrive too slowly
    │   ├── HeadersTooLargeError   431   more headers, or more bytes of them, than allowed
    │   ├── ForeignFrameError      409   a frame of another bundle or for another stage
    │   └── TooLargeError          413   more bytes, pixels or instances than allowed
    ├── QueueFullError             503   the queue of a stage is full; Retry-After says when to try again
    ├── PredictorError             any   the predictor behind a transformer returned an error; its status is kept
    ├── PredictorDownError         503   the predictor behind a transformer does not answer
    ├── DeadlineError              504   the deadline passed; nothing was computed
    ├── UsageError                       options or arguments that are invalid or contradict each other
    ├── FileError                        a user's file or folder that is missing, unreadable, not writable or in the way
    ├── MissingPackageError              an optional package that is not installed
    ├── DatasetError                     pictures or labels that cannot be used for training or evaluation
    ├── TrainingError                    a training that cannot begin, resume or continue
    ├── ModelError                       a model that cannot be built, captured or calibrated
    ├── CutError                         a cut that does not exist or cannot be made
    ├── PlanError                        no plan fits the limits
    ├── CompileError                     a shard that cannot be compiled here
    ├── BundleError                      a bundle or shard that is incomplete, altered or of another version
    ├── FormatError                      a model or an archive that cannot be exported or imported
    ├── StorageError                     a storage URI that cannot be read or written
    ├── ManifestError                    a Kubernetes document that cannot be rendered or run
    └── ClusterError                     an object that a cluster lacks or refuses, or a chain that is not ready
        ├── ClusterDownError             the Kubernetes API, or a pod behind it, does not answer
        ├── MissingObjectError           an object that does not exist in the cluster
        └── SupersededError              a rollout that a later deploy, rollback or undeploy of the chain replaced

Messages are one line and give what was found, what is allowed and what to do. They reach the client, so they hold no
secrets. Errors without a status of their own belong to the command line: it prints the message and exits with 1.
"""


class ShardlineError(Exception):
    """Base of all errors; `status` is the HTTP status that a server answers with."""

    status = 500
    retry_after_s: int | None = None


class RequestError(ShardlineError):
    status = 400


class PictureError(RequestError):
    pass


class FrameError(RequestError):
    pass


class ForbiddenError(RequestError):
    status = 403


class RequestTimeoutError(RequestError):
    status = 408


class HeadersTooLargeError(RequestError):
    status = 431


class ForeignFrameError(RequestError):
    status = 409


class TooLargeError(RequestError):
    status = 413


class QueueFullError(ShardlineError):
    status = 503
    retry_after_s = 1


class PredictorError(ShardlineError):
    """The predictor's own answer, passed on with its status."""

    def __init__(self, message: str, status: int, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s


class PredictorDownError(ShardlineError):
    status = 503
    retry_after_s = 1


class DeadlineError(ShardlineError):
    status = 504


class UsageError(ShardlineError):
    pass


class FileError(ShardlineError):
    pass


class MissingPackageError(ShardlineError):
    pass


class DatasetError(ShardlineError):
    pass


class TrainingError(ShardlineError):
    pass


class ModelError(ShardlineError):
    pass


class CutError(ShardlineError):
    pass


class PlanError(ShardlineError):
    pass


class CompileError(ShardlineError):
    pass


class BundleError(ShardlineError):
    pass


class FormatError(ShardlineError):
    pass


class StorageError(ShardlineError):
    pass


class ManifestError(ShardlineError):
    pass


class ClusterError(ShardlineError):
    pass


class ClusterDownError(ClusterError):
    pass


class MissingObjectError(ClusterError):
    pass


class SupersededError(ClusterError):
    pass
