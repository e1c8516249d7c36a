"""One cell's grid search, whole or a shard of it, or put together from its shards."""

from vptstudy.run.warm import call

joins, beside = "shards" in dict(snakemake.input.items()), snakemake.params.beside
call(
    "vptcore.training.shards:search" if joins else "vptcore.training.search:run",
    job=snakemake.params.job,
    inputs=dict(snakemake.input.items()) | beside["reads"],
    outputs=dict(snakemake.output.items()) | beside["keeps"] | {"work": snakemake.params.work},
    log=snakemake.log[0],
    threads=snakemake.threads,
    gpus=snakemake.resources.get("gpu", 0),
)
