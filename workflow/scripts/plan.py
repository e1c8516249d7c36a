"""What the whole study costs, printed; and as JSON in the log."""

from contextlib import redirect_stdout

from vptcore.plan import command

with open(snakemake.log[0], "w", encoding="utf-8") as log, redirect_stdout(log):
    command.plan(snakemake.params.config, as_json=True)
command.plan(snakemake.params.config)
