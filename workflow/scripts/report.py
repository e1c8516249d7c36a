"""One table, one figure or the report, from cached rows."""

from vptstudy.run.warm import call

call(
    f"vptstudy.report.produce:{snakemake.params.kind}",
    job=snakemake.params.job,
    inputs=dict(snakemake.input.items()),
    outputs=dict(snakemake.output.items()),
    log=snakemake.log[0],
    torch=False,
    again=True,
)
