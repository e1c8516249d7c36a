"""What a person sees while a study runs: one line per finished job, and on a terminal a status line under them.

    [ 34/121] search   vpt · digits · 160    3 configurations, best lr 1 with val 78.1 %, 812 img/s    2:10 left

A plugin of Snakemake's own logger interface, chosen with `--logger study` (the demo and gpu profiles do). A dry run
lists the jobs that would run, on standard output. A job that fails shows the one line that says why and where its log
is; Snakemake's own account is in .snakemake/log.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

# The rules of a cell's parts are shown as what they are parts of.
STAGES = {f"{stage}_{part}": stage for stage in ("search", "final") for part in ("shard", "merge")}
# Of little interest to someone who watches a study; everything else that Snakemake says at warning level is shown.
QUIET = ("Your conda installation", "Falling back to greedy", "RuleException", "Exiting because a job execution failed")

FULL_BYTES = 2**20  # less is left on a full disk
SHOWN = 5  # failed jobs in the last lines of a run
OF_THE_SYSTEM = re.compile(r"\w+Error: \[Errno \d+\] ")


class LogHandler(LogHandlerBase):
    """Counts jobs by stage, remembers how long each took, and says what is left."""

    writes_to_stream = True
    writes_to_file = False
    has_filter = True
    has_formatter = True
    needs_rulegraph = False

    def __post_init__(self) -> None:
        os.environ["VPTCORE_LOGGER"] = "study"  # jobs leave it to this handler to show why they failed
        self.is_terminal = sys.stderr.isatty()
        self.total = self.done = 0
        self.left: Counter[str] = Counter()
        self.running: dict[int, tuple[str, str, float, str]] = {}
        self.took: dict[str, list[float]] = defaultdict(list)
        self.most_at_once = 1
        self.failed = False
        self.failures: dict[tuple[str, str], str] = {}
        self.began = time.monotonic()

    def emit(self, record: logging.LogRecord) -> None:
        if "VPTCORE_STOPPED" in os.environ:  # by Ctrl-C, which has said its line (vptstudy.run.interrupts)
            return
        event = getattr(record, "event", None)
        handler = {
            LogEvent.RUN_INFO: self._run_info,
            LogEvent.JOB_INFO: self._job_info,
            LogEvent.JOB_FINISHED: self._job_finished,
            LogEvent.JOB_ERROR: self._job_error,
            LogEvent.ERROR: self._error,
        }.get(event)
        if handler is not None:
            try:
                handler(record)
            except Exception:  # as logging.Handler asks: a mistake in a log line must not end the run
                self.handleError(record)
        elif event is None and record.levelno >= logging.WARNING and not self.failed:
            text = record.getMessage()
            if not text.startswith(QUIET):
                self._print(_in_one_line(text))
        elif event is None and "Nothing to be done" in str(record.msg):
            self._print("nothing to do: every file is there and up to date")

    def _run_info(self, record) -> None:
        if self.total:  # a dry run says it a second time at its end
            return
        counts: Counter[str] = Counter()
        for rule, count in record.stats.items():
            counts[STAGES.get(rule, rule)] += count
        self.total = counts.pop("total", sum(counts.values()))
        self.left = counts
        shown = ", ".join(f"{count} {stage}" for stage, count in counts.items() if not stage.startswith("all"))
        self._print(f"{_jobs(self.total)}: {shown}")

    def _job_info(self, record) -> None:
        stage = STAGES.get(record.rule_name, record.rule_name)
        what = " · ".join(str(v) for k, v in dict(record.wildcards or {}).items() if k != "backbone")
        log = record.log[0] if record.log else ""
        if self.common_settings.dryrun:
            if log:  # a target such as table_01 is no work
                print(f"{stage:8} {what}".rstrip())
            return
        self.running[record.jobid] = (stage, what, time.monotonic(), str(log))
        self.most_at_once = max(self.most_at_once, len(self.running))
        self._status()

    def _job_finished(self, record) -> None:
        stage, what, start, log = self.running.pop(record.job_id, ("", "", time.monotonic(), ""))
        if not stage:
            return
        self.done += 1
        self.failures.pop((stage, what), None)  # a further attempt
        self.left[stage] -= 1
        self.took[stage].append(time.monotonic() - start)
        width = len(str(self.total))
        if log:
            self._print(
                f"[{self.done:{width}}/{self.total}] {stage:8} {what:34} {_summary(log)}  {self._time_left()}".rstrip()
            )
        self._status()

    def _time_left(self) -> str:
        """Mean durations by stage, the overall mean where a stage has not run yet, over the jobs seen at once."""
        known = [seconds for all_of_stage in self.took.values() for seconds in all_of_stage]
        if not known:
            return ""
        overall = sum(known) / len(known)
        seconds = sum(
            n * (sum(self.took[s]) / len(self.took[s]) if self.took.get(s) else overall)
            for s, n in self.left.items()
            if n > 0
        )
        seconds /= self.most_at_once
        return f"{int(seconds) // 60}:{int(seconds) % 60:02d} left" if seconds >= 1 else ""

    def _job_error(self, record) -> None:
        self.failed = True
        stage = STAGES.get(record.rule_name, record.rule_name)
        _, what, _, log = self.running.pop(record.jobid, ("", "", 0.0, str(record.log[0]) if record.log else ""))
        reason = _last_line(log, "error: ") or _why_silent(log)
        line = f"{stage} {what}".rstrip() + f": {reason}" + (f"  (log: {log})" if log else "")
        self.failures[stage, what] = line
        self._print(f"failed: {line}")

    def _error(self, record) -> None:
        text = str(record.getMessage()).strip()
        if not self.failed and not text.startswith(QUIET):
            self._print(_in_one_line(text))

    def close(self) -> None:
        """The last lines of a run in which jobs failed: which, what is still to be made, what to do."""
        failures, self.failures = self.failures, {}
        if failures and "VPTCORE_STOPPED" not in os.environ:
            left = sum(count for stage, count in self.left.items() if not stage.startswith("all"))
            self._print(f"{_jobs(len(failures))} failed, {left} still to be done:")
            for line in list(failures.values())[:SHOWN]:
                self._print(f"  {line}")
            if len(failures) > SHOWN:
                self._print(f"  and {len(failures) - SHOWN} more, each with its log above")
            self._print("Fix what they say, then run the same command again: finished work is kept.")
        super().close()

    def _print(self, line: str) -> None:
        clear = "\r\033[2K" if self.is_terminal else ""
        sys.stderr.write(f"{clear}{line}\n")
        sys.stderr.flush()

    def _status(self) -> None:
        """The line under the others: how far, what runs, for how long."""
        if not self.is_terminal or not self.running:
            return
        names = ", ".join(f"{stage} {what}" for stage, what, _, _ in self.running.values())
        elapsed = int(time.monotonic() - self.began)
        text = f"{self.done}/{self.total} done, {elapsed // 60}:{elapsed % 60:02d} gone, running: {names}"
        width = shutil.get_terminal_size((100, 20)).columns - 1
        sys.stderr.write(f"\r\033[2K{text[:width]}")
        sys.stderr.flush()


def _in_one_line(text: str) -> str:
    """A traceback that ends in an error of the system (a full disk, one made read-only) by that error alone."""
    last = text.rstrip().rpartition("\n")[2]
    if "Traceback (most recent call last)" in text and OF_THE_SYSTEM.match(last):
        return f"failed: snakemake: {last}"
    return text


def _jobs(count: int) -> str:
    return "1 job" if count == 1 else f"{count} jobs"


def _why_silent(log: str) -> str:
    """Why a job may have ended without a last line."""
    with contextlib.suppress(OSError):
        if log and shutil.disk_usage(Path(log).parent).free < FULL_BYTES:
            return "stopped without a word: the disk of its log is full"
    return "stopped without a word; it may have been killed or run out of memory"


def _summary(log: str) -> str:
    return _last_line(log, "done: ")


def _last_line(log: str, mark: str) -> str:
    """The text after `mark` in the last line of a job's log that has it."""
    try:
        lines = Path(log).read_text(encoding="utf-8").splitlines() if log else []
    except OSError:
        return ""
    return next((line.split(mark, 1)[1] for line in reversed(lines) if mark in line), "")
