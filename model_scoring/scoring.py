"""score(): records in, one outcome each out, in order. No I/O.

``BatchScorer`` is the one place where predictions are made. It validates a batch in one call, sets the failing
records aside, and asks the model once for the rest; only a model that raises, or answers with the wrong number, has
its batch halved until the culprit stands alone. ``score`` is the same for a stream.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import compress, islice
from typing import Any

from ml_model_abc import MLModel
from model_scoring.outcome import Failure, Outcome, Prediction
from model_scoring.output_guard import model_output_to_stderr
from model_scoring.record_schema import RecordSchema

__all__ = ["BATCH_SIZE", "BatchScorer", "score"]

# Where scikit-learn's cost of a call no longer shows and a batch of small records still fits the processor's cache.
BATCH_SIZE = 4096


# What a model raises and is not its record's failure: it is out of memory, or somebody wants the process to end.
LOUD = (GeneratorExit, KeyboardInterrupt, MemoryError)


class BatchScorer:
    """A model, ready to score batches.

    Raises what the schema's library raises when the model's input schema cannot be used.
    """

    def __init__(self, model: MLModel) -> None:
        self.model = model
        self._process = os.getpid()
        self._schema = RecordSchema(model.input_schema)
        # Without a predict_batch of its own a model is asked record by record anyway; no halving is needed then.
        self._predict = self._predict_each if _has_default_batch(model) else self._predict_batch

    def score_batch(self, items: list[Any]) -> tuple[list[Any], dict[int, Failure]]:
        """Predictions in order, None where there is none, and for each of those positions its ``Failure``.

        ``items`` are records; a ``Failure`` among them (a record that could not even be read) stays what it is.
        """
        self._process = os.getpid()
        scored = score_records_of(items, self._score_records)
        self._end_in_child()
        return scored

    def _score_records(self, records: list[Any]) -> tuple[list[Any], dict[int, Failure]]:
        with model_output_to_stderr():
            valid, failures = self._schema.validate(records)
            if not failures:
                return self._predict(records, valid)
            return _without(records, failures, lambda kept: self._predict(kept, valid))

    def _predict_each(self, records: list[Any], valid: list[Any]) -> tuple[list[Any], dict[int, Failure]]:
        predictions: list[Any] = []
        failures: dict[int, Failure] = {}
        for position, record in enumerate(valid):
            try:
                answer = self.model.predict(record)
                # A model may answer with the same dict each time and new values in it.
                predictions.append(answer.copy() if isinstance(answer, dict) else answer)
            except LOUD:
                raise
            except BaseException as error:  # the model's own code: its failure is this record's
                self._end_in_child()
                predictions.append(None)
                failures[position] = Failure.from_exception(records[position], "predict", error)
        return predictions, _without_predictions(records, predictions) | failures

    def _predict_batch(self, records: list[Any], valid: list[Any]) -> tuple[list[Any], dict[int, Failure]]:
        if not valid:
            return [], {}
        try:
            predictions = _as_list(self.model.predict_batch(valid))
        except LOUD:
            raise
        except BaseException as error:  # the model's own code: its failure is the culprit's, nobody else's
            self._end_in_child()
            return self._isolate(records, Failure.from_exception(None, "predict", error))
        if len(predictions) != len(records):  # not len(valid): a model that drops records from its list loses count
            message = f"predict_batch answered {len(predictions)} predictions for {len(records)} record(s)"
            return self._isolate(records, Failure(None, "predict", "WrongNumberOfPredictions", message))
        return predictions, _without_predictions(records, predictions)

    def _end_in_child(self) -> None:
        """Ends a child that the model has forked off: it must not go on as a second scorer of the same records."""
        if os.getpid() != self._process:
            os._exit(1)

    def _isolate(self, records: list[Any], failure: Failure) -> tuple[list[Any], dict[int, Failure]]:
        """Scores the halves of a batch that failed as a whole; a batch of one is the culprit.

        The halves are validated anew: the model may have changed the records before it failed.
        """
        if len(records) == 1:
            return [None], {0: replace(failure, record=records[0])}
        middle = len(records) // 2
        predictions, failures = self._score_records(records[:middle])
        more_predictions, more_failures = self._score_records(records[middle:])
        failures.update((middle + position, each) for position, each in more_failures.items())
        return predictions + more_predictions, failures


def score(model: MLModel, records: Iterable[Any], *, batch_size: int = BATCH_SIZE) -> Iterator[Outcome]:
    """Yields one outcome for each record, in order.

    ``records`` are dicts as the model's input schema describes them; a ``Failure`` among them comes out as it is.
    At most ``batch_size`` records are held, read and scored at a time; the size changes the speed, never an outcome.
    Raises ``MemoryError`` and whatever ``records`` itself raises; a record never raises.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; it must be at least 1.")
    scorer = BatchScorer(model)
    source = iter(records)
    while batch := list(islice(source, batch_size)):
        predictions, failures = scorer.score_batch(batch)
        for position, (record, prediction) in enumerate(zip(batch, predictions, strict=True)):
            yield failures.get(position) or Prediction(record, prediction)
        del batch, predictions, failures  # or two batches would be held while the next one is read


def _as_list(answer: Any) -> list[Any]:
    """The predictions of ``predict_batch``; a table or a text, whose items are no predictions, is refused."""
    if isinstance(answer, Mapping | str | bytes) or hasattr(answer, "columns"):
        raise TypeError(f"predict_batch answered a {type(answer).__name__}, not a list of predictions")
    return list(answer)


Scored = tuple[list[Any], dict[int, Failure]]


def score_records_of(items: list[Any], score_records: Callable[[list[Any]], Scored]) -> Scored:
    """Scores the records among ``items``; a ``Failure`` among them stays what it is."""
    if Failure not in set(map(type, items)):
        return score_records(items)
    failures = {position: item for position, item in enumerate(items) if type(item) is Failure}
    return _without(items, failures, score_records)


def _without(records: list[Any], failures: dict[int, Failure], score_kept: Callable[[list[Any]], Scored]) -> Scored:
    """Scores the records that have not failed, and puts everything back in its place, None where there is a failure.

    Loops over the failures, not over the records: a batch has few of them.
    """
    places = sorted(failures)
    is_kept = [True] * len(records)
    for place in places:
        is_kept[place] = False
    predictions, more = score_kept(list(compress(records, is_kept)))
    spread: list[Any] = []
    taken = 0
    for before, place in enumerate(places):
        spread += predictions[taken : place - before]
        spread.append(None)
        taken = place - before
    spread += predictions[taken:]
    if more:
        kept = list(compress(range(len(records)), is_kept))
        failures = failures | {kept[place]: failure for place, failure in more.items()}
    return spread, failures


def _without_predictions(records: list[Any], predictions: list[Any]) -> dict[int, Failure]:
    if type(None) not in set(map(type, predictions)):
        return {}
    missing = [position for position, prediction in enumerate(predictions) if prediction is None]
    return {
        position: Failure(records[position], "predict", "NoPrediction", "the model answered None")
        for position in missing
    }


def _has_default_batch(model: MLModel) -> bool:
    return getattr(type(model), "predict_batch", None) is MLModel.predict_batch
