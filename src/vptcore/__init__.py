"""Visual prompt tuning, or full fine-tuning? The study as a package; the workflow over it is the Snakefile."""

__version__ = "0.1.0"
