"""Settings: APP_SETTINGS decides, and every error names the thing and what would have worked."""

import sys
import textwrap

import pytest

from model_scoring.errors import SettingsError
from model_scoring.model_manager import ModelManager
from model_scoring.settings import APP_SETTINGS, DEFAULT_SETTINGS, LAUNCHER_SETTINGS, ModelSpec, find_settings

ENTRY = {"module_name": "tests.model_scoring_tests.models", "class_name": "ByDefault"}
OTHER = {"module_name": "tests.model_scoring_tests.models", "class_name": "Batching"}
SETTINGS = f"""
    class ProdConfig:
        models = [{ENTRY!r}]

    class Nightly:
        models = ({OTHER!r},)

    class Without:
        pass

    class Wrong:
        models = "iris_model"
"""


@pytest.fixture
def settings_module(tmp_path, monkeypatch):
    """Writes a module of settings that can be imported, and clears the environment of a choice."""
    for name in (APP_SETTINGS, LAUNCHER_SETTINGS):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    written = []

    def write(text: str, name: str = "user_settings") -> str:
        written.append(name)
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))
        return name

    yield write
    for name in written:
        sys.modules.pop(name, None)


@pytest.mark.parametrize("value", [None, ""])
def test_unset_or_empty_means_prod(settings_module, monkeypatch, value):
    module = settings_module(SETTINGS)
    if value is not None:
        monkeypatch.setenv(APP_SETTINGS, value)
    settings = find_settings(module)
    assert settings.name == DEFAULT_SETTINGS == "ProdConfig"
    assert settings.models == (ModelSpec(**ENTRY),)


def test_a_name_without_a_dot_is_a_class_of_the_doors_module(settings_module, monkeypatch):
    monkeypatch.setenv(APP_SETTINGS, "Nightly")
    assert find_settings(settings_module(SETTINGS)).models == (ModelSpec(**OTHER),)


def test_a_dotted_path_is_the_users_own_class_which_needs_only_models(settings_module, monkeypatch):
    settings_module(f"class Mine:\n    models = [{OTHER!r}]\n", "mine")
    monkeypatch.setenv(APP_SETTINGS, "mine.Mine")
    settings = find_settings("no_such_default")
    assert (settings.name, settings.models) == ("mine.Mine", (ModelSpec(**OTHER),))


def test_what_the_launcher_chose_wins(settings_module, monkeypatch):
    monkeypatch.setenv(APP_SETTINGS, "ProdConfig")
    monkeypatch.setenv(LAUNCHER_SETTINGS, "Nightly")
    assert find_settings(settings_module(SETTINGS)).name == "Nightly"


def test_two_settings_load_two_different_sets_of_models(settings_module, monkeypatch):
    module = settings_module(SETTINGS)
    loaded = []
    for name in ("ProdConfig", "Nightly"):
        monkeypatch.setenv(APP_SETTINGS, name)
        ModelManager.load_models(find_settings(module).models)
        loaded.append([each["qualified_name"] for each in ModelManager.get_models()])
    assert loaded == [["by_default"], ["batching"]]


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        ("Missing", ["APP_SETTINGS=Missing", "'user_settings'", "Nightly, ProdConfig"]),
        ("no_such_module.Mine", ["APP_SETTINGS=no_such_module.Mine", "'no_such_module'", "PYTHONPATH"]),
        ("user_settings.Without", ["APP_SETTINGS=user_settings.Without", "'models'", "list of model entries"]),
        ("Wrong", ["APP_SETTINGS=Wrong", "'models'", "list of model entries"]),
        ("user_settings.", ["APP_SETTINGS=user_settings.", "Nightly, ProdConfig"]),
        ("..Mine", ["APP_SETTINGS=..Mine", "cannot be imported"]),
    ],
)
def test_a_choice_that_cannot_be_used_is_named_with_the_remedy(settings_module, monkeypatch, choice, told):
    module = settings_module(SETTINGS)
    monkeypatch.setenv(APP_SETTINGS, choice)
    with pytest.raises(SettingsError) as caught:
        find_settings(module)
    assert [part for part in told if part not in str(caught.value)] == []


@pytest.mark.parametrize("text", ["import no_such_library", "1 / 0", "class Broken("])
def test_a_settings_module_that_cannot_be_imported_is_named(settings_module, monkeypatch, text):
    settings_module(text, "broken_settings")
    monkeypatch.setenv(APP_SETTINGS, "broken_settings.Mine")
    with pytest.raises(SettingsError, match=r"APP_SETTINGS=broken_settings\.Mine: module '(broken_|no_such_)"):
        find_settings("user_settings")


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ("iris_model", ["entry 3 of models, 'iris_model'", "not a mapping", "'module_name'"]),
        ({}, ["entry 3", "'module_name' is missing"]),
        ({"module_name": "m"}, ["entry 3", "'class_name' is missing"]),
        ({"module_name": 5, "class_name": "C"}, ["entry 3", "'module_name'", "not a string"]),
        ({"module_name": "m", "class_name": ""}, ["entry 3", "'class_name'"]),
        (ENTRY | {"paramters": {}}, ["entry 3", "unknown key(s) paramters", "module_name, class_name, parameters"]),
        (ENTRY | {5: 5}, ["entry 3", "unknown key(s) 5"]),
        (ENTRY | {"parameters": [1]}, ["entry 3", "'parameters' is not a mapping"]),
        (ENTRY | {"parameters": {1: 1}}, ["entry 3", "'parameters' is not a mapping of keyword arguments"]),
    ],
)
def test_an_entry_that_cannot_be_used_is_named_with_the_remedy(entry, told):
    with pytest.raises(SettingsError) as caught:
        ModelSpec.from_entry(entry, 3)
    assert [part for part in told if part not in str(caught.value)] == []
    assert isinstance(caught.value, ValueError)


def test_a_bad_entry_of_the_settings_is_counted_from_one(settings_module, monkeypatch):
    module = settings_module(f"class ProdConfig:\n    models = [{ENTRY!r}, {{}}]\n")
    with pytest.raises(SettingsError, match="entry 2 of models"):
        find_settings(module)


def test_specs_and_settings_are_frozen():
    parameters = {"qualified_name": "a"}
    spec = ModelSpec.from_entry(ENTRY | {"parameters": parameters})
    parameters["qualified_name"] = "b"
    assert dict(spec.parameters) == {"qualified_name": "a"}
    with pytest.raises(AttributeError):
        spec.class_name = "Other"
    with pytest.raises(TypeError):
        spec.parameters["qualified_name"] = "c"
    assert ModelSpec.from_entry(spec) is spec
