"""Forwards ``ModelManager`` under the name it has always had here; it lives in the hall."""

from model_scoring.model_manager import ModelManager

__all__ = ["ModelManager"]
