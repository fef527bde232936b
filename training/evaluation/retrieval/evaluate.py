"""Evaluation of a retrieval: the neighbours' vote as a classifier's prediction, and the recall of the index."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from shardline.training.evaluation.classifier.evaluate import evaluate
from shardline.training.evaluation.classifier.metrics import ClassifierReport
from shardline.training.evaluation.classifier.pictures import open_pictures
from shardline.training.evaluation.classifier.report import classifier_page
from shardline.training.evaluation.metrics import Proportion, to_json
from shardline.training.evaluation.report import (
    Evaluation,
    ReportTable,
    complete,
    format_with_interval,
    make_report_folder,
)
from shardline.training.evaluation.retrieval.sources import RetrievalQuery, RetrievalSources
from shardline.training.evaluation.run import EvaluationRun
from shardline.training.evaluation.served import open_sources
from shardline.training.folder import check_pictures

# keys of report.json for fields that all tasks share
_KEYS = {"count": "neighbours", "right": "found"}


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrievalReport:
    """Metrics of the votes of `k` neighbours, and the recall of each source's index, None where it is unknown."""

    k: int
    votes: ClassifierReport
    recalls: tuple[Proportion | None, ...]

    def to_dict(self) -> dict[str, Any]:
        votes = self.votes.to_dict()
        recalls = to_json(self.recalls, _KEYS)
        sides = [{**side, "recall": recall} for side, recall in zip(votes["sides"], recalls, strict=True)]
        return {**votes, "k": self.k, "sides": sides}

    def tables(self) -> Iterator[ReportTable | str]:
        """Yield the tables and remarks that a classifier's report does not have."""
        names = [side.name for side in self.votes.sides]
        known = [recall for recall in self.recalls if recall is not None]
        if known:
            cells = ("-" if recall is None else format_with_interval(recall) for recall in self.recalls)
            row = (f"{known[0].name} (95 %)", *cells)
            yield ReportTable(title="nearest neighbours found", columns=("", *names), groups=((row,),))
        for name, recall in zip(names, self.recalls, strict=True):
            if recall is None:
                yield (
                    f"{name} does not report the true nearest neighbours: name its bundle by --against for "
                    f"recall@{self.k}"
                )


def evaluate_retrieval(
    run: EvaluationRun,
    *,
    data: str,
    count: int | None,
    k: int,
    nprobe: int | None,
    ef_search: int | None,
    most_mistakes: int,
) -> Evaluation:
    """Open pictures and sources, evaluate, and write the report.

    Args:
        data: a folder, or "digits".
        count: at most this number of pictures.
        k: number of neighbours that vote.
        nprobe: effort of a search in an ivf index, as is `ef_search` in an hnsw index; None: the index's own.
        most_mistakes: thumbnails in the report.

    Raises:
        ShardlineError: a picture or a bundle cannot be read, a source does not answer, a label is unknown to it, or the
            report cannot be written.
    """
    make_report_folder(run.out)
    with open_pictures(data, count) as pictures:
        query = RetrievalQuery(classes=pictures.labels, k=k, nprobe=nprobe, ef_search=ef_search)
        sources = open_sources(RetrievalSources(query=query, program=run.program), run)
        run.progress(f"looking through {len(pictures)} pictures")
        check_pictures(pictures.files)
        with run.bar(len(pictures)) as advance:
            votes, mistakes = evaluate(pictures, sources, most_mistakes, advance)
    report = RetrievalReport(k=k, votes=votes, recalls=tuple(source.recall() for source in sources))
    page = classifier_page(votes, mistakes, data)
    page = replace(
        page,
        lead=f"{page.lead} The prediction is the vote of the {k} nearest neighbours.",
        tables=[page.tables[0], *report.tables(), *page.tables[1:]],
    )
    return complete(run, report.to_dict(), page)
