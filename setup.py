"""The distribution of the job and the scoring hall; its dependencies stand in the requirements files."""

from pathlib import Path

from setuptools import find_packages, setup

VERSION = "0.1.0"


def requirements(file_name: str) -> list[str]:
    lines = Path(__file__).with_name(file_name).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


dev = requirements("requirements-dev.txt")
formats = requirements("requirements-formats.txt")


def named(lines: list[str], *names: str) -> list[str]:
    return [line for line in lines if line.startswith(names)]


setup(
    name="model-mapreduce-job",
    version=VERSION,
    description="Scores large files of records with a packaged machine learning model, as a MapReduce job.",
    python_requires=">=3.11",
    packages=find_packages(include=["model_mapreduce_job*", "model_scoring*"]),
    package_data={"": ["py.typed"]},
    install_requires=[*requirements("requirements.txt"), "ml_model_abc>=0.1,<1"],
    extras_require={
        "dev": [*dev, *formats],
        "avro": named(formats, "fastavro", "cramjam"),
        "parquet": named(formats, "pyarrow"),
        "zstd": named(formats, "backports.zstd"),
        "formats": formats,
        "spark": requirements("requirements-spark.txt"),
        "emr-cli": ["awscli>=1.42,<2"],
        "schema": named(dev, "schema"),
    },
    entry_points={
        "console_scripts": [
            "model-mapreduce-job = model_mapreduce_job.__main__:main",
            "check-model = model_scoring.testing:main",
        ]
    },
)
