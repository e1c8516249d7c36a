"""One task's images from the hub."""

from vptcore.warm import call

call("vptcore.data.hub:run", job=snakemake.params.job, log=snakemake.log[0])
