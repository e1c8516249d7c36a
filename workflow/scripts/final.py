"""One cell's finals, all seeds."""

from vptcore.warm import call

call(
    "vptcore.training.final:run",
    job=snakemake.params.job,
    inputs=dict(snakemake.input.items()),
    outputs=dict(snakemake.output.items()) | {"work": snakemake.params.work},
    reads=snakemake.input,
    makes=snakemake.output,
    log=snakemake.log[0],
    threads=snakemake.threads,
)
