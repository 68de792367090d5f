"""What a module says it offers exists, and what it defines for others it says."""

import importlib
import inspect
import pkgutil

import pytest

import model_scoring

MODULES = sorted(
    {"model_scoring", *(each.name for each in pkgutil.walk_packages(model_scoring.__path__, "model_scoring."))}
)
WITHOUT = ["model_scoring.formats"]


@pytest.mark.parametrize("name", [name for name in MODULES if name not in WITHOUT])
def test_all_is_sorted_and_exists(name):
    module = importlib.import_module(name)
    assert module.__all__ == sorted(module.__all__, key=lambda each: (not each.isupper(), not each[0].isupper(), each))
    assert [each for each in module.__all__ if not hasattr(module, each)] == []


@pytest.mark.parametrize("name", [name for name in MODULES if name not in WITHOUT])
def test_public_classes_are_in_all(name):
    module = importlib.import_module(name)
    defined = [
        each
        for each, value in vars(module).items()
        if inspect.isclass(value) and value.__module__ == name and not each.startswith("_")
    ]
    assert sorted(set(defined) - set(module.__all__)) == []


def test_the_halls_modules_were_found():
    assert {"model_scoring.testing", "model_scoring.formats.ldjson"} <= set(MODULES)
