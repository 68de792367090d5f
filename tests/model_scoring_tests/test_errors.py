"""The exceptions form the tree drawn at the top of their module, and are built from facts."""

import inspect
import re

import pytest

from model_scoring import errors


def test_the_tree_is_as_drawn():
    drawn = re.findall(r"^ *[│├└─ ]*(\w+Error)\b", errors.__doc__, re.MULTILINE)
    defined = [name for name, value in vars(errors).items() if inspect.isclass(value)]
    assert sorted(drawn) == sorted(defined) == sorted(errors.__all__)
    depths = {
        name: errors.__doc__.splitlines()[number].index(name)
        for number, line in enumerate(errors.__doc__.splitlines())
        for name in re.findall(r"^ *[│├└─ ]*(\w+Error)\b", line)
    }
    path = []
    for name in drawn:
        path = [above for above in path if depths[above] < depths[name]]
        if path:
            assert getattr(errors, path[-1]) in getattr(errors, name).__bases__
        path.append(name)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            errors.UnknownModelError("x", ["a", "b"]),
            "'x' not found in the ModelManager instance. Known models: a, b.",
        ),
        (errors.UnknownModelError(None, []), "'None' not found in the ModelManager instance. Known models: none."),
        (errors.ModelCheckError("m.Model", ["one", "two"]), "m.Model: 2 problem(s)\n  - one\n  - two"),
        (errors.RecordFailedError("a.ldjson", "{}", "why"), "a record of a.ldjson failed: why. The record: {}"),
    ],
)
def test_messages_name_the_thing(error, message):
    assert str(error) == message


def test_a_corrupt_file_is_named_with_reason_and_remedy():
    message = str(errors.CorruptInputError("a.gz", "truncated"))
    assert message.startswith("a.gz: truncated. ")
    assert "replace the file" in message


def test_settings_errors_are_value_errors():
    assert issubclass(errors.UnknownModelError, ValueError)
