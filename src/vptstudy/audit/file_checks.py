"""Checks of what is no rows file: tuned models, tables, figures and the page.

In: a `View` and a job. Out: pairs of a file's name and a finding. Tables are built again from the rows that are there
and must be the same to the byte.

    python -m pytest tests/workflow/test_audit.py
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from vptcore.jobs.manifest import code_hash
from vptcore.jobs.meaning import meaning
from vptstudy.audit.context import Found, View
from vptstudy.audit.findings import Finding, Unusable
from vptstudy.graph.jobs import Job

# safetensors' names of floating types, as numpy's; bfloat16 has none and is looked at as its bits.
FLOATS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
WIDTHS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}


def check_models(view: View, job: Job) -> Iterator[Found]:
    """Tuned states: whole, finite, and no fewer numbers than the rows say were tuned: buffers are kept beside them."""
    kind = "search" if job.stage == "search" else "final"
    rows = view.rows_if(job.outputs["rows"][0], kind)
    tuned = int(rows["tuned_parameters"][0]) if rows is not None and len(rows["tuned_parameters"]) else None
    for name in (*job.outputs.get("models", ()), *job.outputs.get("best", ())):
        if not view.exists(name):
            continue
        try:
            shapes = read_shapes(view.path(name))
        except Unusable as error:
            yield name, Finding(error.check, str(error))
            continue
        numbers = sum(int(np.prod(shape)) for _, shape, _ in shapes.values())
        if tuned is not None and numbers < tuned:
            yield name, Finding("schema", f"{numbers:,} numbers; {tuned:,} parameters were tuned")
        if not view.store.is_trusted(name) and (strange := _not_finite(view.path(name), shapes)):
            yield name, Finding("plausible", f"{strange} holds NaN or infinity")


def read_shapes(path: Path) -> dict[str, tuple[str, list[int], tuple[int, int]]]:
    """Tensor -> type, shape and place in the file, of a safetensors file. Raises Unusable if it is not whole."""
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > size - 8:
            raise Unusable("readable", f"not a whole safetensors file ({size:,} bytes)")
        header = file.read(length)
    try:
        tensors = {k: v for k, v in json.loads(header).items() if k != "__metadata__"}
        start, end, shapes = 8 + length, 0, {}
        for name, entry in sorted(tensors.items(), key=lambda item: item[1]["data_offsets"]):
            first, last = entry["data_offsets"]
            if first != end or last - first != WIDTHS[entry["dtype"]] * int(np.prod(entry["shape"])):
                raise ValueError(f"{name} does not lie where its neighbours end")
            shapes[name], end = (entry["dtype"], entry["shape"], (start + first, start + last)), last
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unusable("readable", f"not a readable safetensors file ({str(error)[:100]})") from None
    if start + end != size:
        raise Unusable("readable", f"not a whole safetensors file: {size:,} bytes, its header says {start + end:,}")
    return shapes


def note_of(path: Path) -> dict:
    """The provenance in a safetensors file's metadata; {} where there is none, or no reading it."""
    try:
        read_shapes(path)
        with open(path, "rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        note = json.loads(header["__metadata__"]["vptcore"])
        return note if isinstance(note, dict) else {}
    except (Unusable, OSError, ValueError, KeyError, TypeError):
        return {}


def check_features(view: View, job: Job) -> Iterator[Found]:
    """Features and statistics of them: whole, finite, and a feature for every train and val image of the split."""
    (name,) = job.files
    try:
        shapes = read_shapes(view.path(name))
    except Unusable as error:
        yield name, Finding(error.check, str(error))
        return
    if not view.store.is_trusted(name) and (strange := _not_finite(view.path(name), shapes)):
        yield name, Finding("plausible", f"{strange} holds NaN or infinity")
    if job.stage != "features":
        return
    if "features" not in shapes or not note_of(view.path(name)):
        yield name, Finding("schema", "no features with a note of what made them")
        return
    parts = view.rows_if(job.inputs["splits"][0], "splits")
    images = None if parts is None else int(np.isin(parts["part"], ("train", "val")).sum())
    if images is not None and shapes["features"][1][0] != images:
        yield name, Finding("complete", f"features of {shapes['features'][1][0]} images; its split has {images}")


def _not_finite(path: Path, shapes) -> str | None:
    """The first tensor with NaN or infinity."""
    data = np.memmap(path, np.uint8, "r")
    for name, (kind, _, (first, last)) in shapes.items():
        if kind not in FLOATS:
            continue
        values = data[first:last].view(FLOATS[kind])
        finite = (values & 0x7F80) != 0x7F80 if kind == "BF16" else np.isfinite(values)
        if not finite.all():
            return name
    return None


def check_table(view: View, job: Job) -> Iterator[Found]:
    """Built again from the rows that are there, every form must be the same to the byte.

    Spared where the manifest proves it; seconds a table in a study of the paper's size.
    """
    from vptstudy.report import produce as report_jobs

    there = [name for name in job.files if view.exists(name)]
    if not there or not all(view.exists(name) for name in job.reads) or _is_proven(view, job):
        return
    # The slice that it was made from, which means the same: a table's page names the study's folder as it then was.
    made_from = view.store.records.get(job.files[0], {"job": job.slice})["job"]
    with tempfile.TemporaryDirectory() as folder:
        inputs = {kind: [str(view.path(name)) for name in names] for kind, names in job.inputs.items()}
        outputs = {form: str(Path(folder) / f"table.{form}") for form in job.outputs}
        try:
            report_jobs.table(made_from, inputs, outputs)
        except (ValueError, KeyError) as error:
            yield there[0], Finding("plausible", f"cannot be built again from its rows: {' '.join(str(error).split())}")
            return
        for form, (name,) in job.outputs.items():
            if view.exists(name) and view.path(name).read_bytes() != Path(outputs[form]).read_bytes():
                yield name, Finding("plausible", "not what its rows give today")


def _is_proven(view: View, job: Job) -> bool:
    """Whether today's code made these bytes from the rows that are there: building them again could show no more."""
    record = view.store.records.get(job.files[0])
    if view.deep or record is None or record["code"] != code_hash():
        return False
    same = [view.store.identity(name) == record["inputs"].get(name) for name in job.reads]
    made = [view.store.sha256(name) == record["outputs"].get(name, {}).get("sha256") for name in job.files]
    return all(same) and all(made) and meaning(job.slice) == meaning(record["job"])


def check_figure(view: View, job: Job) -> Iterator[Found]:
    for form, (name,) in job.outputs.items():
        if view.exists(name) and (finding := _READERS[form](view.path(name))):
            yield name, finding


def check_page(view: View, job: Job) -> Iterator[Found]:
    for name in job.outputs["pages"]:
        if view.exists(name) and (finding := _text(view.path(name), "</html>")):
            yield name, finding
    for name in job.outputs["copies"]:
        original = name.split("/", 1)[1]
        if view.exists(name) and view.exists(original) and view.store.sha256(name) != view.store.sha256(original):
            yield name, Finding("plausible", f"another file than {original}, of which it is a copy")


def _png(path: Path) -> Finding | None:
    try:
        with Image.open(path) as image:
            image.load()
            return None if image.format == "PNG" else Finding("schema", f"a {image.format}, not a PNG")
    except (OSError, ValueError, SyntaxError) as error:
        return Finding("readable", f"not a readable PNG ({str(error).splitlines()[0][:100]})")


def _pdf(path: Path) -> Finding | None:
    data = path.read_bytes()
    if data.startswith(b"%PDF-") and data.rstrip().endswith(b"%%EOF"):
        return None
    return Finding("readable", "not a whole PDF file")


def _text(path: Path, end: str = "") -> Finding | None:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return Finding("readable", "not readable as text")
    return None if text.strip() and text.rstrip().endswith(end) else Finding("readable", "not whole")


_READERS = {"png": _png, "pdf": _pdf, "csv": _text, "caption": _text, "note": _text}
