# Visual prompt tuning or full fine-tuning: the study as a workflow.
# `snakemake -n` lists its jobs; `make demo` runs it small.
from snakemake.utils import min_version

min_version("9.20")


# A config given with --configfile or by a profile stands alone. Without one it is the paper's, single keys of which
# --config may change.
if "experiments" not in config:

    configfile: "config.yaml"


# Only used with --sdm apptainer. `apptainer build vptcore.sif apptainer.def` makes it.
container: "vptcore.sif"


# What `snakemake --report` opens with.
report: "workflow/report/study.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/fid.smk"
include: "workflow/rules/search.smk"
include: "workflow/rules/final.smk"
include: "workflow/rules/explain.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/audit.smk"
include: "workflow/rules/plan.smk"


# Results that were kept for second copies of jobs (vptcore.jobs.workfolder): no copy is left when all went well.
onsuccess:
    workfolder.tidy(ROOT)


rule all:
    default_target: True
    input:
        rules.all_tables.input,
        rules.all_figures.input,
        f"{ROOT}/report",
        # Named too, so that rows which someone removed are made again although every table is there.
        [STUDY.path("final", c) for c in STUDY.cells],
    localrule: True


onstart:
    record_config(STUDY, workflow.configfiles)
