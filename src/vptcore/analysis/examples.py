"""A few images of every data set, as rows: what the figure of examples is drawn from.

In: a task's arrays and index. Out: rows of kind `examples`, the image as PNG bytes. The images are the first of the
test split in its order, one a class as far as the classes go: no choice of ours.

    python -m pytest tests/vptcore/analysis/test_examples.py
"""

from __future__ import annotations

import io
import time
from collections.abc import Mapping

import numpy as np
import pandas as pd
from PIL import Image

from vptcore.jobs.provenance import provenance
from vptcore.records import read_rows, write_rows
from vptcore.wording import plural

# Images a task.
EXAMPLES = 4


def pick(index: pd.DataFrame, count: int) -> pd.DataFrame:
    """The first test image of each of the first `count` classes to appear; then the next images, if classes are few."""
    test = index[index["split"] == "test"]
    firsts = test.drop_duplicates("label").head(count)
    more = test.drop(firsts.index).head(count - len(firsts))
    return pd.concat([firsts, more])


def run(job: Mapping, inputs: Mapping[str, str], outputs: Mapping[str, str]) -> str:
    """Write one task's examples."""
    started = time.time()
    picked = pick(read_rows(inputs["index"], "index"), job["images"])
    images = np.load(inputs["images"], mmap_mode="r")
    rows = [
        {
            "row": int(r.row),
            "label": int(r.label),
            "class_name": r.class_name,
            "image_png": png(np.asarray(images[r.row])),
        }
        for r in picked.itertuples()
    ]
    write_rows(outputs["rows"], "examples", rows, provenance(job, inputs, started=started))
    return plural(len(rows), "image")


def png(image_HWC: np.ndarray) -> bytes:
    """PNG bytes of a uint8 image of one or three channels."""
    buffer = io.BytesIO()
    Image.fromarray(image_HWC[..., 0] if image_HWC.shape[-1] == 1 else image_HWC).save(buffer, format="PNG")
    return buffer.getvalue()
