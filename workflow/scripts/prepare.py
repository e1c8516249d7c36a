"""One task's images, decoded once."""

from vptstudy.run.warm import call

call(
    "vptcore.data.arrays:prepare",
    job=snakemake.params.job | {"workers": snakemake.threads},
    images_path=snakemake.output.images,
    index_path=snakemake.output.index,
    work=snakemake.params.work,
    reads=snakemake.input,
    makes=snakemake.output,
    log=snakemake.log[0],
    threads=snakemake.threads,
)
