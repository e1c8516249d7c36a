"""One task's images from the hub."""

from vptstudy.run.warm import call

call("vptcore.data.hub:run", job=snakemake.params.job, log=snakemake.log[0])
