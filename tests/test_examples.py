"""What docs/library.md and the notebook say is run: the page's loop on a small model, the notebook in a kernel."""

import re
from pathlib import Path

import pytest
import timm
import torch

import vptcore

ROOT = Path(__file__).resolve().parents[1]


def blocks(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.S)


def small() -> torch.nn.Module:
    torch.manual_seed(0)
    options = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3}
    return timm.create_model("vit_tiny_patch16_224", num_classes=7, **options)


def test_the_pages_loop_learns_and_keeps_its_prompts(tmp_path, monkeypatch):
    """The page's own lines, but for the weights that would be fetched."""
    monkeypatch.chdir(tmp_path)
    (first, loop, *_), vit = blocks("docs/library.md"), small()
    monkeypatch.setattr(timm, "create_model", lambda name, **options: vit)
    torch.manual_seed(0)
    images, labels = torch.randn(14, 3, 32, 32), torch.arange(14) % 7
    names = {"epochs": 80, "batches": [(images, labels)]}
    exec(compile(first, "docs/library.md", "exec"), names)
    before = torch.nn.functional.cross_entropy(names["model"](images), labels).item()
    exec(compile(loop, "docs/library.md", "exec"), names)
    assert names["loss"].item() < before / 2
    assert {p.name for p in tmp_path.iterdir()} == {"prompts.safetensors"}


def test_every_name_of_the_page_is_there():
    page = (ROOT / "docs/library.md").read_text()
    assert {name for name in vptcore.__all__ if f"`{name}" not in page and f"vptcore.{name}" not in page} == set()


@pytest.mark.slow
def test_the_notebook_runs(tmp_path):
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    notebook = nbformat.read(ROOT / "examples/prompts.ipynb", as_version=4)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    said = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", ()))
    found = {name: float(share) for name, share in re.findall(r"^(.+?) +([\d.]+)% with", said, re.M)}
    assert set(found) == {"head alone", "prompts and head"}
    assert min(found.values()) > 30  # chance is 10
