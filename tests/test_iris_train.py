"""Training puts a whole model in force or none, and loading takes nothing but that model."""

import hashlib
import json
import pickle
import resource
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import joblib
import numpy as np
import pytest
import sklearn
from sklearn.svm import SVR

from iris_model.artefact import METADATA_FILE, MODEL_FILES, read_metadata
from iris_model.iris_predict import IrisModel
from iris_model.iris_train import main, train
from ml_model_abc import MLModelException

SETOSA = {"sepal_length": 5.0, "sepal_width": 3.2, "petal_length": 1.2, "petal_width": 0.2}


@pytest.fixture
def trained(tmp_path):
    """Return a folder that holds a copy of the committed model."""
    folder = tmp_path / "model_files"
    shutil.copytree(MODEL_FILES, folder)
    return folder


def file_names(folder):
    return sorted(path.name for path in folder.iterdir())


def rewrite_metadata(folder, **changes):
    path = folder / METADATA_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def rewrite_artefact(folder, content):
    sha256 = hashlib.sha256(content).hexdigest()
    (folder / read_metadata(folder).file).write_bytes(content)
    rewrite_metadata(folder, sha256=sha256)


def load_error(folder):
    with pytest.raises(MLModelException) as raised:
        IrisModel(model_files=folder)
    assert "iris_train" in str(raised.value)
    return str(raised.value)


def test_training_writes_the_artefact_and_its_metadata(tmp_path, capsys):
    metadata = train(gamma=0.01, c=10.0, model_files=tmp_path)
    assert "accuracy on the 30 records held out: 0.9" in capsys.readouterr().out
    assert file_names(tmp_path) == sorted([metadata.file, METADATA_FILE])
    assert json.loads((tmp_path / METADATA_FILE).read_text()) == {
        "file": metadata.file,
        "sha256": hashlib.sha256((tmp_path / metadata.file).read_bytes()).hexdigest(),
        "scikit_learn": sklearn.__version__,
        "numpy": np.__version__,
        "parameters": {"gamma": 0.01, "c": 10.0},
        "accuracy": metadata.accuracy,
        "training_data_sha256": metadata.training_data_sha256,
    }
    assert metadata.file == f"svc_model-{metadata.sha256[:16]}.joblib"
    assert 0.9 <= metadata.accuracy <= 1
    classifier = joblib.load(tmp_path / metadata.file)
    assert (classifier.gamma, classifier.C) == (0.01, 10.0)
    assert IrisModel(tmp_path).predict(SETOSA) == {"species": "setosa"}
    assert IrisModel(str(tmp_path)).predict(SETOSA) == {"species": "setosa"}


def test_files_can_be_read_by_others(tmp_path):
    train(model_files=tmp_path)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o644}


def test_the_committed_model_is_the_one_the_defaults_train(tmp_path):
    committed, fresh = read_metadata(MODEL_FILES), train(model_files=tmp_path)
    assert committed.parameters == fresh.parameters == {"gamma": 0.001, "c": 100.0}
    assert committed.training_data_sha256 == fresh.training_data_sha256
    assert committed.accuracy == fresh.accuracy
    features = np.random.default_rng(1).uniform(0, 8, (1000, 4))
    predictions = [joblib.load(f / read_metadata(f).file).predict(features) for f in (MODEL_FILES, tmp_path)]
    assert np.array_equal(*predictions)


def test_training_again_replaces_the_model(trained):
    first = train(gamma=0.01, model_files=trained)
    second = train(gamma=0.02, model_files=trained)
    assert first.file != second.file
    assert file_names(trained) == sorted([second.file, METADATA_FILE])


def test_training_the_same_again_keeps_the_model(trained):
    first = train(gamma=0.01, model_files=trained)
    assert train(gamma=0.01, model_files=trained) == first
    assert file_names(trained) == sorted([first.file, METADATA_FILE])
    IrisModel(trained)


def test_a_damaged_model_is_repaired_by_training(trained):
    (trained / METADATA_FILE).write_text("{")
    train(model_files=trained)
    assert IrisModel(trained).predict(SETOSA) == {"species": "setosa"}


def test_a_reader_finds_a_whole_model_while_others_train(trained):
    def train_often(gammas):
        for gamma in gammas:
            train(gamma=gamma, model_files=trained)

    trainings = [
        threading.Thread(target=train_often, args=(np.linspace(0.001, 0.1, 15) + shift,)) for shift in (0, 0.001)
    ]
    for training in trainings:
        training.start()
    while any(training.is_alive() for training in trainings):
        assert IrisModel(trained).predict(SETOSA) == {"species": "setosa"}
    assert file_names(trained) == sorted([read_metadata(trained).file, METADATA_FILE])


def limit_file_size():
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))


def test_a_write_that_fails_leaves_the_old_model_in_force(trained):
    before = {path.name: path.read_bytes() for path in trained.iterdir()}
    done = subprocess.run(
        [sys.executable, "-m", "iris_model.iris_train", "-gamma", "0.05", "-model_files", trained],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=limit_file_size,
    )
    assert done.returncode == 1
    assert f"Cannot write the model to {trained}: File too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert {path.name: path.read_bytes() for path in trained.iterdir()} == before
    IrisModel(trained)


def test_metadata_that_cannot_be_replaced_leaves_no_artefact_behind(tmp_path):
    (tmp_path / METADATA_FILE / "in the way").mkdir(parents=True)
    with pytest.raises(MLModelException, match="Cannot write the model"):
        train(model_files=tmp_path)
    assert file_names(tmp_path) == [METADATA_FILE]


def test_a_folder_that_is_none_is_refused(tmp_path):
    file = tmp_path / "file"
    file.touch()
    for folder, reason in ((tmp_path / "missing", "No such file"), (file, "Not a directory")):
        with pytest.raises(MLModelException, match=rf"{folder}: {reason}.*name a folder that exists"):
            train(model_files=folder)
    assert file_names(tmp_path) == ["file"]


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["gamma", "c"])
def test_parameters_must_be_positive_and_finite(tmp_path, name, value):
    with pytest.raises(ValueError, match=f"^{name} must be a positive, finite number, and is {value}"):
        train(**{name: value}, model_files=tmp_path)
    assert file_names(tmp_path) == []


@pytest.mark.parametrize("arguments", [["-gamma", "0"], ["-c", "-1"], ["-gamma", "nan"], ["-c", "much"], ["-x"]])
def test_the_command_exits_with_2_on_a_bad_option(arguments, capsys):
    with pytest.raises(SystemExit) as raised:
        main(arguments)
    assert raised.value.code == 2
    assert arguments[0].strip("-") in capsys.readouterr().err


def test_the_command_trains(tmp_path, capsys):
    main(["-gamma", "0.02", "-c", "5", "-model_files", str(tmp_path)])
    assert read_metadata(tmp_path).parameters == {"gamma": 0.02, "c": 5.0}
    assert "accuracy" in capsys.readouterr().out


def test_the_command_is_installed_and_a_module():
    for command in (
        [Path(sys.executable).with_name("iris_train")],
        [sys.executable, "-m", "iris_model.iris_train"],
    ):
        done = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True)
        assert "usage: iris_train [-h] [-gamma GAMMA] [-c C]" in done.stdout


def test_missing_metadata_is_refused(tmp_path):
    assert str(tmp_path / METADATA_FILE) in load_error(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '"text"', "\x00"])
def test_damaged_metadata_is_refused(trained, content):
    (trained / METADATA_FILE).write_text(content)
    assert str(trained / METADATA_FILE) in load_error(trained)


@pytest.mark.parametrize("file", ["../svc_model.joblib", "/etc/passwd", "..", "a/b", "", ".hidden"])
def test_an_artefact_outside_the_folder_is_refused(trained, file):
    rewrite_metadata(trained, file=file)
    assert "file: String should match pattern" in load_error(trained)


def test_a_missing_artefact_is_refused(trained):
    artefact = trained / read_metadata(trained).file
    artefact.unlink()
    assert str(artefact) in load_error(trained)


def test_a_changed_artefact_is_refused_with_both_hashes(trained):
    metadata = read_metadata(trained)
    content = bytearray((trained / metadata.file).read_bytes())
    content[100] ^= 1
    (trained / metadata.file).write_bytes(content)
    error = load_error(trained)
    assert metadata.sha256 in error
    assert hashlib.sha256(content).hexdigest() in error


def test_a_changed_artefact_is_not_unpickled(trained, tmp_path):
    class Intruder:
        def __reduce__(self):
            return Path.touch, (tmp_path / "intruded",)

    (trained / read_metadata(trained).file).write_bytes(pickle.dumps(Intruder()))
    load_error(trained)
    assert not (tmp_path / "intruded").exists()


def test_another_scikit_learn_is_refused_with_both_versions(trained):
    rewrite_metadata(trained, scikit_learn="0.24.2")
    error = load_error(trained)
    assert "0.24.2" in error
    assert sklearn.__version__ in error


def test_another_major_version_of_numpy_is_refused_with_both_versions(trained):
    rewrite_metadata(trained, numpy="1.26.4")
    error = load_error(trained)
    assert "1.26.4" in error
    assert np.__version__ in error


def test_another_minor_version_of_numpy_is_accepted(trained):
    rewrite_metadata(trained, numpy=f"{np.__version__.split('.')[0]}.0.0")
    IrisModel(trained)


@pytest.mark.parametrize(("foreign", "name"), [(SVR(), "SVR"), ({"species": "setosa"}, "dict")])
def test_an_artefact_that_is_no_classifier_is_refused(trained, foreign, name):
    rewrite_artefact(trained, pickle.dumps(foreign))
    assert f"holds a {name} and should hold an SVC" in load_error(trained)


def test_an_artefact_that_cannot_be_unpickled_is_refused(trained):
    rewrite_artefact(trained, b"no pickle")
    assert f"Cannot load {trained / read_metadata(trained).file}" in load_error(trained)
