"""One cell's grid search, whole or a shard of it, or put together from its shards."""

from vptstudy.run.warm import call

joins = "shards" in dict(snakemake.input.items())
call(
    "vptcore.training.shards:search" if joins else "vptcore.training.search:run",
    job=snakemake.params.job,
    inputs=dict(snakemake.input.items()),
    outputs=dict(snakemake.output.items()) | {"work": snakemake.params.work},
    # Shards are on the way to a result and no results: the manifest has what the whole cell reads and makes.
    reads=[path for path in snakemake.input if "/shards/" not in path],
    makes=[path for path in snakemake.output if "/shards/" not in path],
    log=snakemake.log[0],
    threads=snakemake.threads,
    gpus=snakemake.resources.get("gpu", 0),
)
