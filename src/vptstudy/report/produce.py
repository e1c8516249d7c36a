"""The report's jobs: one table, one figure, the page, and what the terminal shows at the end.

In: a job slice with the whole config and a number, and the rows files that Snakemake hands over. Out: the written
files. Nothing here trains anything, and nothing imports torch.

    snakemake figure_05 --forcerun figure
"""

from __future__ import annotations

import html
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from vptcore import __version__
from vptcore.records import RowsError, hive_parts, read_many, read_provenance, read_rows, write_text
from vptcore.wording import plural
from vptstudy.config.resolve import load_study
from vptstudy.report import quadrants
from vptstudy.report.bycell import PREDICTIONS, ByCell
from vptstudy.report.captions import full_stop, notice
from vptstudy.report.contrasts import Contrasts
from vptstudy.report.figures import draw
from vptstudy.report.page import sources
from vptstudy.report.page.compose import body_of, copy_into, method_colours, table_page, write_page
from vptstudy.report.tables import build, listing, printed, renderers
from vptstudy.report.tables.extras import EXTRAS, ExtraTable
from vptstudy.study import Study

NO_KIND: Mapping[str, Sequence[str]] = {}


def table(job: Mapping, inputs: Mapping[str, Sequence[str]], outputs: Mapping[str, str]) -> str:
    """Write one table as csv, markdown, LaTeX and a small page of its own, and its caption as a note for Snakemake."""
    number, study = job["number"], load_study(job["config"])
    check_seeds(study, inputs)
    is_extra = number in EXTRAS
    built = _extra(EXTRAS[number], study, inputs) if is_extra else _table(number, study, inputs)
    if line := substitutes_line(study, inputs):
        built = replace(built, caption=f"{built.caption} {line}")
    for name, text in (("csv", renderers.to_csv), ("md", renderers.to_markdown), ("tex", renderers.to_latex)):
        write_text(outputs[name], text(built))
    write_text(outputs["html"], table_page(built, renderers.to_html(built), _count(inputs), study.root))
    if "note" in outputs:
        write_text(outputs["note"], note(built.caption))
    return f"{plural(len(built.frame), 'cell')} from {plural(_count(inputs), 'file')}"


def figure(job: Mapping, inputs: Mapping[str, Sequence[str]], outputs: Mapping[str, str]) -> str:
    """Draw one figure as pdf and png, with its caption and its numbers beside it."""
    study, frames = load_study(job["config"]), _frames(inputs, draw.by_cell(job["number"]))
    check_seeds(study, inputs)
    own = job.get("style")
    draw.save(draw.draw(job["number"], study, frames, own), outputs["pdf"], outputs["png"], own)
    write_text(outputs["csv"], draw.numbers(job["number"], study, frames))
    lines = [draw.caption(job["number"], study, frames), substitutes_line(study, inputs)]
    text = " ".join(filter(None, lines))
    write_text(outputs["caption"], text + "\n")
    if "note" in outputs:
        write_text(outputs["note"], note(text))
    return f"drawn from {plural(_count(inputs), 'file')}"


def check_seeds(study: Study, inputs: Mapping[str, Sequence[str]]) -> None:
    """Raise RowsError for finals of other seeds than the config's: a mean over them would be said of the wrong ones."""
    for path in _listed(inputs.get("final", [])):
        found = read_rows(path, "final", ["seed"])["seed"].tolist()
        if sorted(found) != sorted(study.seeds):
            theirs, ours = (", ".join(map(str, sorted(seeds))) for seeds in (found, study.seeds))
            raise RowsError(f"{path}: finals of the seeds {theirs}; the config asks for {ours}; run the study again")


def note(caption: str) -> str:
    """A caption as Snakemake's report includes it: reStructuredText in which nothing of the caption is markup."""
    return f".. raw:: html\n\n   <p>{html.escape(' '.join(caption.split()))}</p>\n"


def substitutes_line(study: Study, inputs: Mapping[str, Sequence[str]]) -> str:
    """Where the rows' images or splits are not the benchmark's own: one sentence per substitute, with its tasks."""
    tasks_of: dict[str, dict[str, None]] = {}
    for path in (path for files in inputs.values() for path in _listed(files)):
        task = hive_parts(path).get("task")
        for note in read_provenance(path).get("substitutes", ()) if task else ():
            tasks_of.setdefault(note, {})[study.tasks[task].title] = None
    said = [f"{', '.join(tasks)}: {note}" for note, tasks in tasks_of.items()]
    return full_stop(f"Substitutes: {'; '.join(said)}") if said else ""


def page(job: Mapping, inputs: Mapping[str, Sequence[str]], outputs: Mapping[str, str]) -> str:
    """Write the folder of the report from rows, the tables' pages and drawn figures."""
    study, folder = load_study(job["config"]), Path(outputs["folder"])
    check_seeds(study, inputs)
    frames = _frames({kind: inputs.get(kind, []) for kind in ("final", "fid", "predictions")}, PREDICTIONS)
    sections = [body_of(Path(path).read_text(encoding="utf-8")) for path in _listed(inputs["tables"])]
    printed_in = [Path(path).with_suffix(".csv") for path in _listed(inputs["tables"])]
    agreed = printed.agreement(printed.verdicts(path for path in printed_in if path.stem[6:].isdigit()))
    for path in _listed(inputs["tables"]):
        for suffix in (".csv", ".md", ".tex"):
            copy_into(folder / "tables", Path(path).with_suffix(suffix))
    drawn = [
        _drawn(number, Path(inputs["captions"][i]), job["made_from"][number]) for i, number in enumerate(job["figures"])
    ]
    files = [path for kind in sources.KINDS for path in _listed(inputs.get(kind, []))]
    write_text(folder / sources.PAGE, sources.rows_page(study, files, method_colours(), notice(study)))
    notes = {
        "Made with": f"vptcore {__version__}",
        "Again": f"vptcore render {shlex.quote(study.root)}",
        "Rows": f"{study.root}: one folder a kind, one parquet file a cell; each file's metadata says what made it",
    }
    contrasts = Contrasts(study, frames["final"], frames["predictions"])
    plane, advice = quadrants.quadrants(study, frames), advice_of(study, _listed(inputs.get("final", [])))
    write_page(study, folder, contrasts, plane, sections, drawn, notes, agreed, advice)
    return f"{plural(len(sections), 'table')} and {plural(len(drawn), 'figure')} in {folder}/index.html"


def advice_of(study: Study, finals: Sequence[str]) -> str:
    """What `vptcore advise` said of this study; '' where it was not asked, or where finals are newer than that."""
    file = Path(study.root) / "advice.json"
    if not file.is_file() or any(Path(path).stat().st_mtime > file.stat().st_mtime for path in finals):
        return ""
    return str(json.loads(file.read_text(encoding="utf-8")).get("advice", ""))


def print_results(config: Mapping, folder: str = "") -> None:
    """The main tables of the rows that are there in the terminal, and where their report is inside the study."""
    from vptstudy.report.page.terminal import print_summary

    study = load_study(config)
    main = [number for number in ("own", 1, 2) if build.cells(number, study)]
    cells = list(dict.fromkeys(cell for number in main for cell in build.cells(number, study)))
    files = {kind: [study.path(kind, cell) for cell in cells] for kind in ("final", "predictions")}
    there = {kind: [path for path in paths if Path(path).exists()] for kind, paths in files.items()}
    built = [_table(number, study, there) for number in main]
    contrasts = Contrasts(study, **_frames(there, PREDICTIONS))
    print_summary(study, built, contrasts, Path(study.root) / folder / "report/index.html")


def _extra(spec: ExtraTable, study: Study, inputs: Mapping[str, Sequence[str]]) -> listing.Listing:
    frames: dict = {
        kind: read_many(_listed(files), kind, spec.columns.get(kind))
        for kind, files in inputs.items()
        if kind not in spec.by_cell
    }
    for kind in spec.by_cell:
        frames[kind] = ByCell(kind, _listed(inputs[kind]), spec.columns.get(kind))
    return spec.build(study, frames)


def _table(number: int, study: Study, inputs: Mapping[str, Sequence[str]]) -> build.Table:
    frames = _frames(inputs, PREDICTIONS)
    return build.build(number, study, frames["final"], frames.get("fid"), frames.get("predictions"))


def _drawn(number: str, caption: Path, made_from: list[str]) -> dict:
    return {
        "number": number, "title": draw.spec_of(number).title,
        "caption": caption.read_text(encoding="utf-8").strip(),
        "png_path": caption.with_suffix(".png"), "pdf_path": caption.with_suffix(".pdf"), "made_from": made_from,
    }  # fmt: skip


def _frames(inputs: Mapping[str, Sequence[str]], by_cell: Mapping[str, Sequence[str]] = NO_KIND) -> dict:
    """Kind -> rows of its files, which may come as one string.

    `by_cell`: kinds that are read one cell at a time, when asked for, and their columns.
    """
    return {
        kind: ByCell(kind, _listed(files), by_cell[kind]) if kind in by_cell else read_many(_listed(files), kind)
        for kind, files in inputs.items()
    }


def _count(inputs: Mapping[str, Sequence[str]]) -> int:
    return sum(len(_listed(files)) for files in inputs.values())


def _listed(files: str | Sequence[str]) -> Sequence[str]:
    return [files] if isinstance(files, str) else files
