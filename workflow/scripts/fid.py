"""One task's Fréchet distance."""

from vptcore.warm import call

call(
    "vptcore.analysis.fid:run",
    job=snakemake.params.job,
    inputs=dict(snakemake.input.items()),
    outputs=dict(snakemake.output.items()),
    log=snakemake.log[0],
    threads=snakemake.threads,
)
