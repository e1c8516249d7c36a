"""Real photographs from a parquet to a test accuracy, through every stage, with a really pretrained ViT-S/16.

VPT and a linear probe learn 64 images of three sets: ten textures (DTD), ten birds (CUB-200) and seven kinds of land
from above (RSSCN7), and label 60 others far better than chance. The environment variable VPTCORE_REAL_DATA names the
folder with dtd_10cls.parquet, cub200_10cls.parquet, rsscn7_300perclass.parquet (columns image, label, split) and the
weights of tests/vptcore/models/test_real_vit.py. Without it the tests are skipped. Minutes a set on a CPU.

    VPTCORE_REAL_DATA=path/to/folder python -m pytest -m slow -s tests/vptcore/data/test_real_images.py
"""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml

from tests.vptcore.models.test_real_vit import WEIGHTS
from vptcore import records
from vptcore.data import arrays, splits
from vptcore.training import final, search
from vptstudy import slices
from vptstudy.config.resolve import load_study
from vptstudy.graph import flow

pytestmark = pytest.mark.slow
TRAIN, POOL, TEST = 64, 150, 60


def study_of(task: str, classes: int, parquet: Path, weights: Path, root: Path):
    config = yaml.safe_load(Path("profiles/demo/study.yaml").read_text())
    config |= {"study": "real", "results": str(root), "protocol": "sound", "epochs": 5, "seeds": [42],
               # The features' norm is above 40: a head that starts at random would take all 50 steps to forget it.
               "switches": {"head_init": "zeros"}, "base_train": TRAIN,
               "explain": {"tasks": [], "images": 1}, "report": {}}  # fmt: skip
    config["backbones"] = {"real": {"timm": "vit_small_patch16_224", "width": 384, "checkpoint": str(weights)}}
    config["methods"] = {
        "vpt": {"batch": 8, "grid": {"lr": [0.2], "weight_decay": [0.0]}},
        "linear": {"batch": 8, "grid": {"lr": [0.5, 0.2, 0.05], "weight_decay": [0.0]}},
    }
    config["fid"] |= {"network": "backbone"}
    config["tasks"] = {task: {"source": "parquet", "path": str(parquet), "group": "natural", "classes": classes}}
    config["experiments"] = {
        "real": {"backbones": ["real"], "methods": ["vpt", "linear"], "tasks": [task], "train": [TRAIN]}
    }
    return load_study(config)


def smaller(source: Path, out: Path) -> Path:
    """The set's first POOL train and TEST test images in a seeded order, so that a CPU has done in minutes."""
    table = pq.read_table(source)
    frame = pd.DataFrame({"split": table["split"].to_pylist()}).sample(frac=1, random_state=0)
    is_test = frame["split"] == "test"
    rows = [*frame[~is_test].index[:POOL], *frame[is_test].index[:TEST]]
    pq.write_table(table.take(rows), out)
    return out


@pytest.mark.parametrize(
    ("name", "classes"), [("dtd_10cls", 10), ("cub200_10cls", 10), ("rsscn7_300perclass", 7)], ids=lambda v: str(v)
)
def test_vpt_and_a_linear_probe_learn_real_images(tmp_path, name, classes):
    folder = Path(os.environ.get("VPTCORE_REAL_DATA", ""))
    for file in (WEIGHTS, f"{name}.parquet"):
        if not os.environ.get("VPTCORE_REAL_DATA") or not (folder / file).is_file():
            pytest.skip(f"no {file} in VPTCORE_REAL_DATA; see this file's docstring")
    parquet = smaller(folder / f"{name}.parquet", tmp_path / "in.parquet")
    study = study_of(name, classes, parquet, folder / WEIGHTS, tmp_path)
    files = flow.task_files(study, name, str(TRAIN))
    print("\n", arrays.prepare(slices.prepare(study, name, study.input_size(name)), files["images"], files["index"]))
    print(splits.run(slices.split(study, name, str(TRAIN)), files["index"], files["splits"]))
    for cell in study.cells:
        made = {kind: study.path(kind, cell) for kind in ("search", "final", "curves", "predictions")}
        job, work = slices.search(study, cell), str(tmp_path / "work")
        print(cell.method, search.run(job, flow.search_files(study, cell), {"rows": made["search"], "work": work}))
        outputs = {"rows": made["final"], "work": work, **{k: made[k] for k in ("curves", "predictions")}}
        print(cell.method, final.run(slices.final(study, cell), flow.final_files(study, cell), outputs))
        (accuracy,) = records.read_rows(made["final"], "final")["test_accuracy"]
        print(f"{name}: {cell.method} {accuracy:.1%}, chance {1 / classes:.1%}")
        assert accuracy > 3 / classes, f"{cell.method} on {name}: {accuracy:.1%}"
