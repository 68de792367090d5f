"""``model-mapreduce-job`` and ``python -m model_mapreduce_job``: the job as a command."""

from model_mapreduce_job.command_line import asks_for_help, reported_errors
from model_scoring.output_guard import claim_stdout

__all__ = ["main"]


def main() -> None:
    """Runs the job with the options of the command line."""
    output = None if asks_for_help(True) else claim_stdout()
    with reported_errors(True):
        # Imported here: importing the job loads the models, and what they print must not become output.
        from model_mapreduce_job.ml_model_map_reduce_job import MLModelMapReduceJob

        MLModelMapReduceJob.run(output)


if __name__ == "__main__":
    main()
