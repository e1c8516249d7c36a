"""The audit of this run's study, in the terminal; it fails where a file does not hold."""

from vptstudy.audit.session import of_run

of_run(snakemake.params.config, snakemake.log[0])
