"""What the whole study costs."""

from vptcore.plan import command

command.plan(snakemake.params.config)
