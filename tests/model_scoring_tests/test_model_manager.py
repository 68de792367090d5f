"""ModelManager: specs in, models out; what is no model is refused and named."""

import pytest

from model_scoring.errors import ModelError, SettingsError
from model_scoring.model_manager import ModelManager
from model_scoring.settings import ModelSpec
from tests.model_scoring_tests import models

MODULE = "tests.model_scoring_tests.models"
NOT_A_MODEL = "The ModelManager can only hold references to objects of type MLModel."


def entry(class_name, **parameters):
    return {"module_name": MODULE, "class_name": class_name} | ({"parameters": parameters} if parameters else {})


@pytest.fixture(autouse=True)
def _no_models():
    ModelManager.load_models([])


def names():
    return [each["qualified_name"] for each in ModelManager.get_models()]


def test_models_are_shared_between_instances():
    ModelManager().load_models([entry("ByDefault")])
    one, other = ModelManager(), ModelManager()
    assert one.get_model("by_default") is other.get_model("by_default")
    assert type(one.get_model("by_default")) is models.ByDefault


def test_loading_again_starts_anew():
    ModelManager.load_models([entry("ByDefault")])
    ModelManager.load_models([entry("Batching"), entry("WithoutSchema")])
    assert names() == ["batching", "without_schema"]
    assert ModelManager.get_model("by_default") is None


def test_specs_and_mappings_serve_alike():
    ModelManager.load_models([ModelSpec(MODULE, "Batching"), entry("ByDefault")])
    assert names() == ["batching", "by_default"]


def test_models_are_described_in_the_order_they_were_loaded():
    ModelManager.load_models([entry("Batching"), entry("ByDefault")])
    assert ModelManager.get_models()[1] == {
        "display_name": "Named",
        "qualified_name": "by_default",
        "description": "Doubles x.",
        "major_version": 1,
        "minor_version": 2,
    }


def test_an_unknown_name_gives_none():
    ModelManager.load_models([entry("ByDefault")])
    assert ModelManager.get_model("other") is None
    assert ModelManager.get_model_metadata("other") is None


def test_parameters_reach_the_class():
    ModelManager.load_models([entry("ByDefault", qualified_name="one"), entry("ByDefault", qualified_name="two")])
    assert names() == ["one", "two"]


@pytest.mark.parametrize("class_name", ["NotAModel", "not_a_model", "Row"])
def test_what_is_no_model_is_refused(class_name):
    with pytest.raises(SettingsError) as caught:
        ModelManager.load_models([entry(class_name)])
    assert str(caught.value) == NOT_A_MODEL


@pytest.mark.parametrize(
    ("bad", "error_type", "told"),
    [
        (entry("ByDefault"), SettingsError, [f"{MODULE}.ByDefault", "'by_default'", "remove one"]),
        ({"module_name": "no_such_module", "class_name": "X"}, SettingsError, ["'no_such_module'", "PYTHONPATH"]),
        (entry("Missing"), SettingsError, [MODULE, "'Missing'", "Batching, ByDefault,"]),
        (entry("ByDefault") | {"clas": 1}, SettingsError, ["entry 2", "clas", "module_name, class_name, parameters"]),
        (entry("ByDefault", nonsense=1), ModelError, [f"{MODULE}.ByDefault", "TypeError", "nonsense"]),
        (entry("Unloadable"), ModelError, [f"{MODULE}.Unloadable", "OSError", "no such artefact"]),
        (entry("Exiting"), ModelError, [f"{MODULE}.Exiting", "SystemExit"]),
        (entry("ByDefault", qualified_name=5), SettingsError, [f"{MODULE}.ByDefault", "qualified name is 5"]),
        (entry("MLModel"), ModelError, [f"{MODULE}.MLModel", "abstract"]),
    ],
)
def test_an_entry_that_cannot_be_loaded_is_named_and_leaves_no_model(bad, error_type, told):
    ModelManager.load_models([entry("Batching")])
    with pytest.raises(error_type) as caught:
        ModelManager.load_models([entry("ByDefault"), bad])
    assert [part for part in told if part not in str(caught.value)] == []
    assert ModelManager.get_models() == []


@pytest.mark.parametrize("text", ["1 / 0", "class Broken(", "raise SystemExit(0)", "from os import no_such_name"])
def test_a_module_that_cannot_be_imported_is_named(tmp_path, monkeypatch, text):
    (tmp_path / "broken_model_module.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModelError, match=r"^broken_model_module\.Model cannot be imported: "):
        ModelManager.load_models([{"module_name": "broken_model_module", "class_name": "Model"}])


@pytest.mark.parametrize(
    ("class_name", "required"),
    [
        ("ByDefault", ["x"]),
        ("WithBaseModel", ["x"]),
        ("WithDataclass", ["x"]),
        ("WithSchemaPackage", ["x"]),
    ],
)
def test_metadata_describes_every_kind_of_schema(class_name, required):
    ModelManager.load_models([entry(class_name)])
    metadata = ModelManager.get_model_metadata(names()[0])
    assert metadata["display_name"] == "Named"
    assert metadata["input_schema"]["type"] == "object"
    assert metadata["input_schema"]["required"] == required
    if class_name == "WithSchemaPackage":
        assert set(metadata["output_schema"]["properties"]) == {"double"}
    else:
        assert metadata["output_schema"] is None


def test_metadata_of_a_model_without_schemas():
    ModelManager.load_models([entry("WithoutSchema")])
    assert ModelManager.get_model_metadata("without_schema")["input_schema"] is None
