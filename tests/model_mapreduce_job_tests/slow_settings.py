"""Settings with a model that takes its time."""

import time
from typing import Any

from tests.model_mapreduce_job_tests.models import _Echo


class SlowModel(_Echo):
    qualified_name = "slow"

    def predict(self, data: dict[str, Any]) -> dict[str, Any]:
        time.sleep(60)
        return {}


class Slow:
    models = [{"module_name": __name__, "class_name": "SlowModel"}]
