"""What the whole study costs, printed; and as JSON in the log."""

from contextlib import redirect_stdout

from vptstudy.plan import printout

with open(snakemake.log[0], "w", encoding="utf-8") as log, redirect_stdout(log):
    printout.plan(snakemake.params.config, as_json=True)
printout.plan(snakemake.params.config)
