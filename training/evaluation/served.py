"""Data sources of an evaluation: opening models, bundles and served chains, and requests to a served chain."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from shardline.client.pictures import fit_body
from shardline.client.target import Target
from shardline.training.evaluation.run import EvaluationRun
from shardline.wire.errors import PredictorError, UsageError
from shardline.wire.limits import REQUEST_BYTES

SourceT_co = TypeVar("SourceT_co", covariant=True)
SourceT = TypeVar("SourceT")
PredictionT = TypeVar("PredictionT")


class SourceFactory(Protocol[SourceT_co]):
    """Opens the data sources of one task. Each method raises ShardlineError where that is impossible."""

    def served(self, url: str) -> SourceT_co: ...

    def open_source(self, model: Path | None) -> Sequence[SourceT_co]:
        """Open what a MODEL stands for: of a bundle its chain and its whole. None is the model that ships."""
        ...

    def chain(self, bundle: Path) -> SourceT_co: ...


def open_sources(factory: SourceFactory[SourceT], run: EvaluationRun) -> list[SourceT]:
    """Open all that is compared, the source to evaluate first.

    Raises:
        ShardlineError: as the factory.
    """
    if run.url is not None and not run.against and (run.threads is not None or run.program != "portable"):
        raise UsageError("--threads and --program are for models in this process, not for --url: leave them out")
    if run.url is None or run.against:
        from shardline.partition.device import use_threads

        use_threads(run.threads)
    if run.url is None:
        run.progress(f"loading {run.model or 'the model that ships'}")
        sources = list(factory.open_source(run.model))
    else:
        sources = [factory.served(run.url)]
    for folder in run.against:
        run.progress(f"loading {folder}")
        sources.append(factory.chain(folder))
    return sources


class ServedChain:
    """A chain that is served at a URL."""

    def __init__(self, url: str) -> None:
        self.name = url
        self._target = Target(url)

    def predict(
        self,
        picture: bytes,
        parameters: Mapping[str, object],
        read: Callable[[object], PredictionT | None],
        expected: str,
    ) -> PredictionT:
        """Request the prediction for one picture, in a request of its own.

        Args:
            read: raw prediction -> its value; None where it is of another task.
            expected: the predictions of this task, such as "plates".

        Raises:
            PredictorError: it does not answer, or with something else.
        """
        predictions = self._target.ask(fit_body(picture, parameters, REQUEST_BYTES)).predictions
        prediction = read(predictions[0]) if len(predictions) == 1 else None
        if prediction is None:
            start = str(list(predictions))[:120]
            raise PredictorError(f"{self.name} replies with something else than {expected}: {start}", status=502)
        return prediction
