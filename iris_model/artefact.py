"""The trained classifier on disk: an artefact, and beside it the metadata that says what it must be.

    svc_model.json                  the metadata; names the artefact that is in force
    svc_model-<16 hex>.joblib       the artefact, named after its SHA-256

The metadata is the pointer and is replaced last, so a reader finds the old model or the new one, never a
mixture.
"""

import fcntl
import hashlib
import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from ml_model_abc import MLModelException

__all__ = ["METADATA_FILE", "MODEL_FILES", "Metadata", "load_classifier", "read_metadata", "write_classifier"]

MODEL_FILES = Path(__file__).with_name("model_files")
METADATA_FILE = "svc_model.json"

_REMEDY = "run iris_train to train the model again"

_BareFileName: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]*$")]
_Sha256: TypeAlias = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


@dataclass(frozen=True)
class Metadata:
    """What an artefact is and where it came from."""

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)

    file: _BareFileName
    sha256: _Sha256
    scikit_learn: str
    numpy: str
    parameters: dict[str, float]
    accuracy: float
    training_data_sha256: _Sha256


_METADATA = TypeAdapter(Metadata)


def load_classifier(model_files: Path) -> Any:
    """Return the `sklearn.svm.SVC` that the metadata in `model_files` names.

    Unpickling runs code, so nothing is unpickled before the library versions and the SHA-256 match the
    metadata; the bytes that were checked are the bytes that are loaded. Raises `MLModelException`
    otherwise.
    """
    metadata, content = _read(model_files)
    _check_versions(metadata)
    _check_hash(content, metadata, model_files)
    return _unpickle(content, model_files / metadata.file)


def read_metadata(model_files: Path) -> Metadata:
    """Return the metadata in `model_files`; raise `MLModelException` when there is none or it is damaged."""
    path = model_files / METADATA_FILE
    try:
        return _METADATA.validate_json(path.read_bytes())
    except OSError as error:
        raise MLModelException(f"Cannot read {path}: {error.strerror}; {_REMEDY}.") from error
    except ValidationError as error:
        reasons = "; ".join(
            ": ".join([*map(str, detail["loc"]), detail["msg"]]) for detail in error.errors(include_url=False)
        )
        raise MLModelException(f"{path} is no metadata of a model: {reasons}; {_REMEDY}.") from error


def write_classifier(
    classifier: Any,
    model_files: Path,
    *,
    parameters: dict[str, float],
    accuracy: float,
    training_data_sha256: str,
) -> Metadata:
    """Put `classifier` in force in `model_files` and return its metadata.

    Files are written under unique names and moved into place, the metadata last; then the artefact it
    replaces is removed. Raises `MLModelException` when that fails, and the model that was in force before
    still is.
    """
    import joblib
    import numpy as np
    import sklearn

    buffer = io.BytesIO()
    joblib.dump(classifier, buffer)
    content = buffer.getvalue()
    sha256 = hashlib.sha256(content).hexdigest()
    metadata = Metadata(
        file=f"svc_model-{sha256[:16]}.joblib",
        sha256=sha256,
        scikit_learn=sklearn.__version__,
        numpy=np.__version__,
        parameters=parameters,
        accuracy=accuracy,
        training_data_sha256=training_data_sha256,
    )
    try:
        _put_in_force(content, metadata, model_files)
    except OSError as error:
        raise MLModelException(
            f"Cannot write the model to {model_files}: {error.strerror}; "
            "name a folder that exists, may be written to and has room."
        ) from error
    return metadata


def _put_in_force(content: bytes, metadata: Metadata, model_files: Path) -> None:
    with _locked(model_files) as folder:
        replaced = _artefact_in_force(model_files)
        artefact = model_files / metadata.file
        is_new = not artefact.exists()
        try:
            _replace(artefact, content)
            _replace(model_files / METADATA_FILE, _METADATA.dump_json(metadata, indent=2) + b"\n")
        except OSError:
            if is_new:
                artefact.unlink(missing_ok=True)
            raise
        os.fsync(folder)
        if replaced is not None and replaced != artefact:
            with suppress(OSError):  # the new model is in force; the old file merely takes room
                replaced.unlink(missing_ok=True)


@contextmanager
def _locked(folder: Path) -> Iterator[int]:
    """Keep other trainings out of `folder`, so that none removes the artefact another has just written."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def _artefact_in_force(model_files: Path) -> Path | None:
    try:
        return model_files / read_metadata(model_files).file
    except MLModelException:  # the first training, or one that repairs a damaged model
        return None


def _replace(path: Path, content: bytes) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(descriptor, 0o644)  # mkstemp's files can be read by their owner alone
            os.fsync(descriptor)
        Path(temporary).replace(path)
    except BaseException:  # not even an interrupt leaves something half-written
        Path(temporary).unlink(missing_ok=True)
        raise


def _read(model_files: Path) -> tuple[Metadata, bytes]:
    metadata = read_metadata(model_files)
    while True:
        path = model_files / metadata.file
        try:
            return metadata, path.read_bytes()
        except OSError as error:
            # A training may have replaced the model between the two reads; the metadata then names another.
            metadata, stale = read_metadata(model_files), metadata
            if metadata == stale:
                raise MLModelException(
                    f"Cannot read {path}, which {METADATA_FILE} names: {error.strerror}; {_REMEDY}."
                ) from error


def _check_versions(metadata: Metadata) -> None:
    import numpy as np
    import sklearn

    if sklearn.__version__ != metadata.scikit_learn:
        raise MLModelException(
            f"The model was trained with scikit-learn {metadata.scikit_learn} and here is "
            f"{sklearn.__version__}; install scikit-learn=={metadata.scikit_learn} or {_REMEDY}."
        )
    major = metadata.numpy.partition(".")[0]
    if np.__version__.partition(".")[0] != major:
        raise MLModelException(
            f"The model was trained with numpy {metadata.numpy} and here is {np.__version__}; "
            f"install numpy {major} or {_REMEDY}."
        )


def _check_hash(content: bytes, metadata: Metadata, model_files: Path) -> None:
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != metadata.sha256:
        raise MLModelException(
            f"{model_files / metadata.file} is not the artefact that {METADATA_FILE} describes: "
            f"its SHA-256 is {sha256} and should be {metadata.sha256}; restore the file or {_REMEDY}."
        )


def _unpickle(content: bytes, path: Path) -> Any:
    import joblib
    from sklearn.svm import SVC

    try:
        classifier = joblib.load(io.BytesIO(content))
    except Exception as error:  # whatever the unpickled classes raise; the model is then not loaded
        raise MLModelException(f"Cannot load {path}: {type(error).__name__}: {error}; {_REMEDY}.") from error
    if not isinstance(classifier, SVC):
        raise MLModelException(f"{path} holds a {type(classifier).__name__} and should hold an SVC; {_REMEDY}.")
    return classifier
