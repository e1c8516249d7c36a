"""What the audit says of a tuned model's file beside the rows that it was written with."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import save_file

from vptstudy.audit.file_checks import check_models


@pytest.mark.parametrize(("tuned", "said"), [(10, []), (14, []), (15, ["14 numbers; 15 parameters were tuned"])])
def test_a_state_has_what_was_tuned_and_may_have_buffers_beside_it(tmp_path, tuned, said):
    """As of VeRA, whose projections are buffers, or of a batch norm."""
    save_file({"head.weight": np.ones((2, 5), np.float32), "running_mean": np.ones(4, np.float32)}, tmp_path / "m")
    view = SimpleNamespace(
        rows_if=lambda name, kind: {"tuned_parameters": [tuned]}, exists=lambda name: True,
        path=lambda name: tmp_path / name, store=SimpleNamespace(is_trusted=lambda name: False),
    )  # fmt: skip
    job = SimpleNamespace(stage="final", outputs={"rows": ["rows"], "models": ["m"]})
    assert [finding.text for _, finding in check_models(view, job)] == said
