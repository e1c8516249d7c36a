"""One task's Grad-CAM pairs."""

from vptstudy.run.warm import call

call(
    "vptcore.analysis.explain:run",
    job=snakemake.params.job,
    inputs=dict(snakemake.input.items()) | snakemake.params.beside["reads"],
    outputs=dict(snakemake.output.items()),
    log=snakemake.log[0],
    threads=snakemake.threads,
    gpus=snakemake.resources.get("gpu", 0),
)
