"""Exported models: the same logits in a process with timm and torch alone; labels for photographs, bad ones listed."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vptcore.data.decode import resize_antialias
from vptcore.data.tensors import Normalise
from vptcore.models import portable
from vptcore.models.backbones import Backbone
from vptcore.models.export import restore, write_model
from vptcore.models.labelling import images_in, label, open_model
from vptcore.models.methods import build, build_head, spec_of, tuned_state
from vptcore.models.onnx_form import NEEDS, write_onnx
from vptcore.training.protocol import PROTOCOLS

OPTIONS = dict(img_size=16, patch_size=4, embed_dim=24, depth=3, num_heads=3)
TINY = Backbone("tiny", "Tiny", "vit_tiny_patch16_224", size=16, width=24, depth=3, options=OPTIONS)
SWIN_OPTIONS = dict(img_size=32, patch_size=4, window_size=4, embed_dim=12, depths=(2, 2), num_heads=(2, 4))
SWIN = Backbone("swin", "Swin", "swin_tiny_patch4_window7_224", pool="avg", size=32, width=24, options=SWIN_OPTIONS)
NAMES = ["cat", "dog", "newt"]
CASES = {
    "full": ("full", TINY, True), "linear": ("linear", TINY, True), "lora": ("lora", TINY, True),
    "vpt_deep": ("vpt", TINY, True), "vpt_shallow": ("vpt", TINY, False), "mixed_shallow": ("mixed", TINY, False),
    "ft_then_pt": ("ft_then_pt", TINY, True), "full_avg": ("full", replace(TINY, pool="avg"), True),
    "vpt_avg": ("vpt", replace(TINY, pool="avg"), True), "swin_full": ("full", SWIN, True),
    "swin_lora": ("lora", SWIN, True),
}  # fmt: skip


def job_of(method: str, backbone: Backbone, deep: bool, checkpoint: str) -> dict:
    return dict(
        backbone=asdict(backbone) | {"checkpoint": checkpoint}, method=method, classes=3, deep=deep,
        prompt_length=2 if method in ("vpt", "mixed", "ft_then_pt") else 0, protocol=asdict(PROTOCOLS["sound"]),
        lora={"rank": 2, "alpha": 4, "targets": ["qkv", "fc1"]}, task="pets", train="32", resize="antialias",
    )  # fmt: skip


def shaken(model: torch.nn.Module) -> torch.nn.Module:
    """What training does to a model, as far as an export can see: every trained parameter is another."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    return model


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory) -> dict[str, str]:
    import timm
    from safetensors.torch import save_file

    folder, found = tmp_path_factory.mktemp("weights"), {}
    for backbone in (TINY, SWIN):
        torch.manual_seed(0)
        found[backbone.id] = str(folder / f"{backbone.id}.safetensors")
        save_file(shaken(timm.create_model(backbone.timm, num_classes=0, **backbone.options)).state_dict(),
                  found[backbone.id])  # fmt: skip
    return found


def tuned(case: str, checkpoints: dict[str, str]):
    """(job, state, base state, logits of the model that was tuned on the images of `pictures`)."""
    method, backbone, deep = CASES[case]
    job = job_of(method, backbone, deep, checkpoints[backbone.id])
    base = None
    if method == "ft_then_pt":
        base = tuned_state(shaken(build(spec_of(job | {"method": "full"}), seed=3)))
    if method == "linear":
        state = tuned_state(shaken(build_head(spec_of(job), seed=5)))
        model = build(spec_of(job), seed=5)
        model.head.load_state_dict(state)
    else:
        backbone_only = {n.removeprefix("encoder.vit."): v for n, v in (base or {}).items() if "encoder.vit." in n}
        model = shaken(build(spec_of(job), seed=5, base_state=backbone_only or None))
        state = tuned_state(model)
    with torch.inference_mode():
        return job, state, base, model.eval()(pictures(backbone.size))


def pictures(size: int) -> torch.Tensor:
    return torch.randn(5, 3, size, size, generator=torch.Generator().manual_seed(7))


@pytest.fixture(scope="module")
def exported(tmp_path_factory, checkpoints) -> dict[str, tuple[Path, torch.Tensor]]:
    root, found = tmp_path_factory.mktemp("models"), {}
    for case in CASES:
        job, state, base, logits = tuned(case, checkpoints)
        normalise = Normalise(job["backbone"]["size"], (0.4, 0.5, 0.6), (0.2, 0.3, 0.4))
        write_model(root / case, job, restore(job, state, base), normalise, NAMES, {"resize": "antialias"},
                    lambda config: "# a card\n")  # fmt: skip
        found[case] = root / case, logits
    return found


ALONE = """
import json, sys, pathlib
import timm, torch
answers = {}
for name in sys.argv[2:]:
    folder = pathlib.Path(sys.argv[1]) / name
    if (folder / "model.py").exists():
        scope = {"__name__": "model"}
        exec((folder / "model.py").read_text(), scope)
        model = scope["load"](folder)
    else:
        model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    size = model.pretrained_cfg["input_size"][-1]
    images = torch.randn(5, 3, size, size, generator=torch.Generator().manual_seed(7))
    with torch.inference_mode():
        answers[name] = model(images).tolist(), model.pretrained_cfg["label_names"]
assert not [name for name in sys.modules if name.startswith("vpt")]
print(json.dumps(answers))
"""


def test_timm_and_torch_alone_give_our_logits(exported):
    root = next(iter(exported.values()))[0].parent
    done = subprocess.run(
        [sys.executable, "-I", "-c", ALONE, str(root), *exported], capture_output=True, text=True, cwd=root
    )
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    for case, (_, ours) in exported.items():
        theirs, names = answers[case]
        assert names == NAMES
        assert float((torch.tensor(theirs) - ours).abs().max()) <= 1e-5 * max(1, float(ours.abs().max())), case


@pytest.mark.parametrize(
    ("case", "own"),
    [("full", False), ("lora", False), ("vpt_shallow", False), ("mixed_shallow", False), ("vpt_deep", True)],
)
def test_only_deep_prompts_need_a_module_of_their_own(exported, case, own):
    folder = exported[case][0]
    assert (folder / "model.py").exists() == own
    assert len((folder / "predict.py").read_text().splitlines()) <= 15
    assert len(Path(portable.__file__).read_text().splitlines()) <= 60
    assert json.loads((folder / "config.json").read_text())["pretrained_cfg"]["crop_mode"] == "squash"


def test_registers_of_shallow_prompts_have_no_position(exported):
    model = portable.load(exported["vpt_shallow"][0])
    assert model.num_reg_tokens == 2
    position_1ND = model.pos_embed.detach()
    assert float(position_1ND[:, 1:3].abs().max()) == 0 < float(position_1ND[:, :1].abs().max())


def test_what_timm_has_no_form_for_is_one_line(tmp_path, checkpoints):
    job = job_of("mlp", TINY, True, checkpoints["tiny"])
    model = restore(job, tuned_state(build_head(spec_of(job), seed=0)))
    normalise = Normalise(16, (0.5,) * 3, (0.5,) * 3)
    with pytest.raises(ValueError, match="the head of mlp is no linear layer"):
        write_model(tmp_path / "m", job, model, normalise, NAMES, {}, str)
    job = job_of("vpt", SWIN, True, checkpoints["swin"])
    model = restore(job, tuned_state(build(spec_of(job), seed=0)))
    with pytest.raises(ValueError, match="prompts in windows have no form in timm"):
        write_model(tmp_path / "m", job, model, Normalise(32, (0.5,) * 3, (0.5,) * 3), NAMES, {}, str)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "pool"), [("eva02_tiny_patch14_224", "avg"), ("vit_base_patch16_siglip_256", "own")])
def test_a_model_that_is_no_plain_vit_is_refused_in_one_line(tmp_path, name, pool):
    import timm
    from safetensors.torch import save_file

    save_file(timm.create_model(name, num_classes=0, **OPTIONS).state_dict(), tmp_path / "weights.safetensors")
    job = job_of("full", replace(TINY, timm=name, pool=pool), True, str(tmp_path / "weights.safetensors"))
    with pytest.raises(ValueError, match=rf"export: Tiny \({name}\): only Swins and ViTs that pool"):
        write_model(
            tmp_path / "m", job, build(spec_of(job), seed=0), Normalise(16, (0.5,) * 3, (0.5,) * 3), NAMES, {}, str
        )
    assert [path.name for path in tmp_path.iterdir()] == ["weights.safetensors"]


def test_a_form_with_other_logits_is_refused(tmp_path, checkpoints, monkeypatch):
    """A method whose encoder does more than timm's model does, and says so nowhere."""
    job, state, base, _ = tuned("full", checkpoints)
    model = restore(job, state, base)
    model.encoder.register_forward_hook(lambda module, inputs, feature: feature * 1.01)
    with pytest.raises(ValueError, match="full has no form in timm: logits would differ by"):
        write_model(tmp_path / "m", job, model, Normalise(16, (0.5,) * 3, (0.5,) * 3), NAMES, {}, str)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def photographs(tmp_path) -> Path:
    rng, folder = np.random.default_rng(0), tmp_path / "photos"
    (folder / "deeper").mkdir(parents=True)
    for number, shape in enumerate([(40, 30), (16, 16), (21, 64), (90, 90), (33, 20)]):
        pixels = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / ("deeper" if number > 2 else ".") / f"{number}.png")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8 this is no photograph")
    (folder / "notes.txt").write_text("not an image")
    return folder


@pytest.mark.parametrize("case", ["full", "vpt_deep", "vpt_shallow"])
def test_labels_are_those_of_a_plain_loop_and_bad_images_are_listed(exported, photographs, case):
    folder = exported[case][0]
    found = label(open_model(folder, torch.device("cpu")), images_in([photographs]), top=2, batch=2)
    assert [Path(path).name for path, _ in found.unreadable] == ["broken.jpg"]
    paths = sorted(photographs.glob("*.png")) + sorted((photographs / "deeper").glob("*.png"))
    assert [row["image"] for row in found.rows] == [str(path) for path in paths]
    model = portable.load(folder)
    for row in found.rows:
        pixels = resize_antialias(np.array(Image.open(row["image"]).convert("RGB")), 16) / 255
        x = torch.tensor((pixels - (0.4, 0.5, 0.6)) / (0.2, 0.3, 0.4), dtype=torch.float32).permute(2, 0, 1)[None]
        with torch.inference_mode():
            shares = model(x)[0].softmax(-1)
        order = shares.argsort(descending=True)
        assert (row["label"], row["label_2"]) == (NAMES[order[0]], NAMES[order[1]])
        assert row["confidence"] == pytest.approx(float(shares.max()), abs=1e-5)


def test_timms_transform_prepares_images_as_training_did(exported, photographs):
    import timm

    model = portable.load(exported["full"][0])
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
    for path in photographs.rglob("*.png"):
        image = Image.open(path).convert("RGB")
        ours = Normalise(16, (0.4, 0.5, 0.6), (0.2, 0.3, 0.4))(
            torch.from_numpy(resize_antialias(np.array(image), 16))[None]
        )
        assert float((transform(image) - ours[0]).abs().max()) < 1e-5


def test_the_folders_own_script_labels_photographs(exported, photographs):
    for case in ("vpt_deep", "full"):
        done = subprocess.run([sys.executable, "-s", "predict.py", str(photographs / "0.png")], capture_output=True,
                              text=True, cwd=exported[case][0], env={"PATH": ""})  # fmt: skip
        expected = label(open_model(exported[case][0], torch.device("cpu")), [photographs / "0.png"]).rows[0]
        assert done.stdout.split() == [expected["image"], expected["label"], f"{expected['confidence']:.1%}"], (
            done.stderr
        )


def test_folders_without_a_model_and_paths_without_images(tmp_path):
    with pytest.raises(ValueError, match=r"no config.json in it; `vptcore export` writes it"):
        open_model(tmp_path, torch.device("cpu"))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="not a model's folder of vptcore"):
        open_model(tmp_path, torch.device("cpu"))
    with pytest.raises(ValueError, match="no images in"):
        images_in([tmp_path])
    with pytest.raises(ValueError, match="no such file or folder"):
        images_in([tmp_path / "none"])


@pytest.mark.parametrize("case", ["vpt_deep", "vpt_shallow"])
def test_onnx_gives_the_same_logits(exported, case, tmp_path):
    for name in NEEDS:
        pytest.importorskip(name, reason="needs pip install 'vptcore[onnx]'")
    import shutil

    import onnxruntime

    folder = Path(shutil.copytree(exported[case][0], tmp_path / case))
    write_onnx(folder)
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"))
    (logits,) = session.run(["logits"], {"images": pictures(16).numpy()})
    assert float((torch.from_numpy(logits) - exported[case][1]).abs().max()) <= 1e-4


def test_without_its_packages_onnx_is_one_line(exported, monkeypatch):
    monkeypatch.setattr("vptcore.models.onnx_form.NEEDS", ("a_package_that_is_not_there",))
    with pytest.raises(ValueError, match=r"--onnx: needs a_package_that_is_not_there; pip install 'vptcore\[onnx\]'"):
        write_onnx(exported["full"][0])
