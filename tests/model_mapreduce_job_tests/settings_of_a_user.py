"""A user's own settings, which need only ``models``. Named by a dotted path in tests."""

IRIS = {"module_name": "iris_model.iris_predict", "class_name": "IrisModel"}
FAILING = {"module_name": "model_scoring.testing", "class_name": "FailingModel"}
DYING = {"module_name": "tests.model_mapreduce_job_tests.models", "class_name": "DyingModel"}
NOISY = {"module_name": "tests.model_mapreduce_job_tests.models", "class_name": "NoisyModel"}


class Both:
    models = [IRIS, {**FAILING, "parameters": {"qualified_name": "failing"}}]


class OnlyFailing:
    models = [{**FAILING, "parameters": {"qualified_name": "failing"}}]


class Dying:
    models = [DYING]


class Noisy:
    models = [NOISY]


class Broken:
    models = [{"module_name": "no_such_package.models", "class_name": "Model"}]


class WithoutModels:
    pass
