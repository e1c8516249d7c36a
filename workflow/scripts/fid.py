"""One task's features, its Fréchet distance, or the reference's statistics."""

from vptstudy.run.warm import call

call(
    f"vptcore.analysis.fid:{snakemake.params.stage}",
    job=snakemake.params.job,
    inputs=dict(snakemake.input.items()),
    outputs=dict(snakemake.output.items()),
    log=snakemake.log[0],
    threads=snakemake.threads,
    gpus=snakemake.resources.get("gpu", 0),
)
