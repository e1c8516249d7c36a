"""A few images of one task."""

from vptstudy.run.warm import call

call(
    "vptcore.analysis.examples:run",
    job=snakemake.params.job,
    inputs=dict(snakemake.input.items()),
    outputs=dict(snakemake.output.items()),
    log=snakemake.log[0],
    torch=False,
)
