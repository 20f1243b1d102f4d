"""An index job on a local Ray cluster, in a process of its own: `python ray_job.py OPTIONS-AS-JSON`.

The models are those of `fake_models`, put into the catalogue of every worker. Each pass of an encoder writes its
worker's pid as a line into the file `HS_PIDS`, and takes `HS_PASS_S` seconds.
"""

import json
import os
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def install():
    """Put the fakes into this process. Ray calls it in every worker."""
    from hybrid_search.collection import models
    from hybrid_search.encoders import catalog
    from tests.fake_models import FAKE_CARDS, Fakes

    fakes, load = Fakes(), models.load
    catalog.CARDS = (*catalog.CARDS, *FAKE_CARDS)

    def told(card, **options):
        if not card.name.startswith("fake/"):
            return load(card, **options)
        model = fakes.load(card)
        encode = model.encode_documents

        def slow(texts):
            with Path(os.environ["HS_PIDS"]).open("a") as file:
                file.write(f"{os.getpid()}\n")
            time.sleep(float(os.environ["HS_PASS_S"]))
            return encode(texts)

        model.encode_documents = slow
        return model

    models.load = told


def main(options):
    import ray

    from hybrid_search.collection.models import ModelRequest
    from hybrid_search.indexing.ray_driver import index_on_ray
    from hybrid_search.settings import Settings

    install()
    env = {"PYTHONPATH": str(ROOT), "HS_PIDS": os.environ["HS_PIDS"], "HS_PASS_S": os.environ["HS_PASS_S"]}
    ray.init(
        num_cpus=3,
        num_gpus=0,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        object_store_memory=100_000_000,
        runtime_env={"env_vars": env, "worker_process_setup_hook": "tests.ray_job.install"},
    )
    try:
        for job in options["jobs"]:
            settings = Settings(store=options["url"], cache_dir=options["cache"])
            asked = ModelRequest(names=job.pop("names")) if "names" in job else None
            try:
                report = index_on_ray(**job, address="auto", settings=settings, asked=asked)
                found = {name: getattr(report, name) for name in COUNTS} | {"failures": list(report.failures)}
            except Exception as error:
                found = {"error": type(error).__name__, "message": str(error)}
            print(json.dumps(found), flush=True)
    finally:
        ray.shutdown()


COUNTS = ("documents", "chunks", "unchanged", "repeated", "removed", "failed", "truncated")

if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
