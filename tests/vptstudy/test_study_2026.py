"""studies/2026.yaml: checked, planned, and rehearsed on two of its tasks."""

from pathlib import Path

import pandas as pd
import timm
import yaml

from vptcore.models.methods_table import METHODS
from vptstudy.config.resolve import load_study
from vptstudy.plan.devices import DEVICES
from vptstudy.plan.limits import work_of
from vptstudy.plan.seconds import Speed
from vptstudy.rehearsal import write
from vptstudy.report.tables import build

CONFIG = yaml.safe_load(Path("studies/2026.yaml").read_text())


def test_five_backbones_ten_methods_vtab():
    study = load_study(CONFIG)
    assert [len(study.used(field)) for field in ("backbone", "method", "task", "train")] == [5, 10, 19, 1]
    assert len(study.cells) == 950
    for name in study.used("backbone"):
        assert timm.is_model(study.backbones[name].timm), name


def test_planned():
    """Every cell costs something, a probe less than half of any method that goes through the backbone."""
    study, speed = load_study(CONFIG), Speed(DEVICES["H100"])
    seconds = {
        cell.method: sum(
            sum(speed.seconds_by_phase(work_of(study, kind, cell)).values()) for kind in ("search", "final")
        )
        for cell in study.select(backbone="dinov2_b14", task="svhn")
    }
    assert seconds["linear"] < 0.5 * min(value for method, value in seconds.items() if method != "linear")
    assert all(value > 0 for value in seconds.values())


def test_rehearsed_in_small(tmp_path):
    config = yaml.safe_load(Path("studies/2026.yaml").read_text())
    config |= {"results": str(tmp_path), "epochs": 4, "seeds": [42, 44]}
    config["report"] |= {"notice": write.NOTICE}
    config["experiments"]["methods"] |= {"tasks": ["cifar100", "clevr_count"], "backbones": ["vit_b16_sup21k"]}
    study = load_study(config)
    write.write_study(study, workers=1, say=lambda line: None)
    final = pd.concat(
        pd.read_parquet(study.path("final", cell)).assign(
            backbone=cell.backbone, method=cell.method, task=cell.task, train=cell.train
        )
        for cell in study.cells
    )
    assert set(final["method"]) == set(CONFIG["experiments"]["methods"]["methods"])
    counted = final.groupby("method")["tuned_parameters"].max()
    assert counted["bitfit"] == (12 * 11 + 2) * 768 + 769 * 100
    assert counted["full"] == counted["full_decayed"] == counted["lp_ft"] == 85_798_656 + 76_900
    found = build.build(1, study, final).frame
    assert {METHODS[m].title for m in set(found["method"])} >= {"FT", "VPT", "BitFit", "SSF", "Adapter+"}
