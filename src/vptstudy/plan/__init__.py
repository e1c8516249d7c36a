"""What a study costs before it runs: jobs, GPU-hours, wall time, memory and disk, from the config and rows alone.

`resources` is what the rules ask for a job's limits.

    vptcore plan
"""

from vptstudy.plan.limits import memory, resources, runtime

__all__ = ["memory", "resources", "runtime"]
