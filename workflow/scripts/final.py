"""One cell's finals, all seeds or a shard of them, or put together from their shards."""

from vptstudy.run.warm import call

joins, beside = "shards" in dict(snakemake.input.items()), snakemake.params.beside
call(
    "vptcore.training.shards:final" if joins else "vptcore.training.final:run",
    job=snakemake.params.job,
    inputs=dict(snakemake.input.items()) | beside["reads"],
    outputs=dict(snakemake.output.items()) | beside["keeps"] | {"work": snakemake.params.work},
    log=snakemake.log[0],
    threads=snakemake.threads,
    gpus=snakemake.resources.get("gpu", 0),
)
