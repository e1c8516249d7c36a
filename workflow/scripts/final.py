"""One cell's finals, all seeds or a shard of them, or put together from their shards."""

from vptstudy.run.warm import call

joins = "shards" in dict(snakemake.input.items())
outputs = dict(snakemake.output.items()) | {"work": snakemake.params.work}
if outputs.pop("folder", None):  # a shard's models, as many as it has seeds
    outputs["models"] = snakemake.params.models
call(
    "vptcore.training.shards:final" if joins else "vptcore.training.final:run",
    job=snakemake.params.job,
    inputs=dict(snakemake.input.items()),
    outputs=outputs,
    # Shards are on the way to a result and no results: the manifest has what the whole cell reads and makes.
    reads=[path for path in snakemake.input if "/shards/" not in path],
    makes=[path for path in snakemake.output if "/shards/" not in path],
    log=snakemake.log[0],
    threads=snakemake.threads,
    gpus=snakemake.resources.get("gpu", 0),
)
