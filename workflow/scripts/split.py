"""The rows of one task that one train size uses."""

from vptstudy.run.warm import call

call(
    "vptcore.data.splits:run",
    job=snakemake.params.job,
    index_path=snakemake.input.index,
    out_path=snakemake.output.rows,
    images_path=snakemake.input.get("images"),
    reads=snakemake.input,
    makes=snakemake.output,
    log=snakemake.log[0],
)
