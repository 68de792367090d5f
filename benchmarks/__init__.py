"""Measurements. Light on purpose: a process that is measured starts with the memory of the one that starts it."""

# The environment variable that names the folder of trained models to the processes that are measured.
MODELS_FOLDER = "BENCHMARK_MODELS"
MODELS = ("svc", "forest", "logistic")
