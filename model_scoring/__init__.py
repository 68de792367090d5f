"""The hall: records in, one outcome each out. Knows no door and does no I/O of its own.

A door needs ``ModelManager`` to have its models and ``score`` to use one.
"""

from model_scoring.errors import ScoringError
from model_scoring.model_manager import ModelManager
from model_scoring.outcome import Failure, Outcome, Prediction
from model_scoring.scoring import BatchScorer, score

__all__ = ["BatchScorer", "Failure", "ModelManager", "Outcome", "Prediction", "ScoringError", "score"]
