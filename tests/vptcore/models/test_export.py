"""Exported models: the same logits in a process with timm and torch alone; labels for photographs, bad ones listed."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from tests.vptcore.models import tiny
from tests.vptcore.models.tiny import FAMILIES, peft_settings
from vptcore.data.decode import resize_antialias
from vptcore.data.tensors import Normalise
from vptcore.models import portable
from vptcore.models.export import restore, write_model
from vptcore.models.labelling import images_in, label, open_model
from vptcore.models.methods import build, spec_of, start_state, tuned_state
from vptcore.models.methods_table import METHODS
from vptcore.models.onnx_form import NEEDS, write_onnx
from vptcore.models.peft_types import TRAINS
from vptcore.training.protocol import PROTOCOLS

NAMES = ["cat", "dog", "newt"]
SIZE = 32
NORMALISE = Normalise(SIZE, (0.4, 0.5, 0.6), (0.2, 0.3, 0.4))
# Every method on four families, on the others one of each form; of prompts the shallow ones, and those that a mean over
# the tokens reads too; and every adapter of peft.
FORMS = ("full", "vpt", "mlp", "lora", "ssf", "adaptformer")
CASES = {
    f"{family}-{method}": (family, method, True, "sound")
    for family in FAMILIES for method in (METHODS if family in ("vit", "swin", "eva", "beit") else FORMS)
} | {
    f"{family}-vpt-{'deep' if deep else 'shallow'}-{protocol}": (family, "vpt", deep, protocol)
    for family in FAMILIES for deep, protocol in ((True, "paper"), (False, "paper"), (False, "sound"))
} | {"vit-mixed-shallow": ("vit", "mixed", False, "sound")} | {
    f"vit-{kind}": ("vit", f"my_{kind}", True, "sound") for kind in TRAINS
}  # fmt: skip
# What plain timm has no form for, by method and by family.
NEEDS_MODEL_PY = {"mlp", "adaptformer", "adapter_plus", "vpt", "spt", "mixed", "ft_then_pt"}
SHALLOW_IN_TIMM = {"vit", "siglip", "registers"}


def job_of(case: str, checkpoint: str = "") -> dict:
    family, method, deep, protocol = CASES[case]
    kind = method.removeprefix("my_")
    settings = peft_settings(kind) if kind in TRAINS else {}
    return tiny.job_of(
        replace(FAMILIES[family], checkpoint=checkpoint), method, classes=3, deep=deep, settings=settings,
        protocol=asdict(PROTOCOLS[protocol]), task="pets", train="32", resize="antialias",
    )  # fmt: skip


def shaken(model: torch.nn.Module) -> torch.nn.Module:
    """What training does to a model, as far as an export can see: every trained parameter is another."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
        for name, buffer in model.named_buffers():
            if "running" in name:
                buffer += 0.3
    return model


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory) -> dict[str, str]:
    folder, found = tmp_path_factory.mktemp("weights"), {}
    for family, row in FAMILIES.items():
        torch.manual_seed(0)
        found[family] = str(folder / f"{family}.safetensors")
        weights = shaken(timm.create_model(row.timm, num_classes=0, **row.options)).state_dict()
        save_file({name: value.contiguous() for name, value in weights.items()}, found[family])
    return found


def tuned(case: str, checkpoints: dict[str, str]):
    """(job, state, base state, logits of the model that was tuned on the images of `pictures`)."""
    job = job_of(case, checkpoints[CASES[case][0]])
    spec, base = spec_of(job), None
    if spec.row.needs == "full":
        base = tuned_state(shaken(build(spec_of(job | {"method": "full"}), seed=3)))
    model = build(spec, seed=5, base_state=start_state(spec.row, base) if base else None)
    if spec.row.probe:
        shaken(model.head)
        state = tuned_state(model.head)
    else:
        state = tuned_state(shaken(model))
    with torch.inference_mode():
        return job, state, base, model.eval()(pictures(SIZE))


def pictures(size: int) -> torch.Tensor:
    return torch.randn(5, 3, size, size, generator=torch.Generator().manual_seed(7))


@pytest.fixture(scope="module")
def exported(tmp_path_factory, checkpoints) -> dict[str, tuple[Path, torch.Tensor]]:
    root, found = tmp_path_factory.mktemp("models"), {}
    for case in CASES:
        job, state, base, logits = tuned(case, checkpoints)
        write_model(root / case, job, restore(job, state, base), NORMALISE, NAMES, {"resize": "antialias"},
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


@pytest.mark.parametrize("case", CASES)
def test_only_what_timm_has_no_form_for_needs_a_module_of_its_own(exported, case):
    folder, (family, method, deep, _) = exported[case][0], CASES[case]
    is_ours = (folder / "model.py").exists()
    if not deep:
        assert is_ours == (family not in SHALLOW_IN_TIMM)
    elif (
        method != "ssf" and family != "dinov3"
    ):  # projections without a bias; a model that averages, by its class token
        assert is_ours == (method in NEEDS_MODEL_PY)
    assert len((folder / "predict.py").read_text().splitlines()) <= 15
    assert json.loads((folder / "config.json").read_text())["pretrained_cfg"]["crop_mode"] == "squash"


def test_the_module_of_deep_prompts_is_short_and_tidy(exported, tmp_path):
    """Each text compiles, imports what it uses and nothing else, and holds no line over 120 characters."""
    for name in portable.ADD:
        text = portable.model_py(name)
        (tmp_path / f"{name}.py").write_text(text)
        assert max(map(len, text.splitlines())) <= 120
    assert len(portable.model_py("add_prompts").splitlines()) <= 60
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "E4,E7,F", str(tmp_path)],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_registers_of_shallow_prompts_have_no_position(exported):
    model = portable.load(exported["vit-vpt-shallow-sound"][0])
    assert model.num_reg_tokens == 5
    position_1ND = model.pos_embed.detach()
    assert float(position_1ND[:, 1:6].abs().max()) == 0 < float(position_1ND[:, :1].abs().max())


def test_registers_of_the_model_stay_before_those_of_shallow_prompts(exported, checkpoints):
    from safetensors.torch import load_file

    model = portable.load(exported["registers-vpt-shallow-sound"][0])
    own = load_file(checkpoints["registers"])["reg_token"]
    assert model.num_reg_tokens == own.shape[1] + 5
    torch.testing.assert_close(model.reg_token[:, : own.shape[1]].detach(), own)


def test_a_form_with_other_logits_is_refused(tmp_path, checkpoints, monkeypatch):
    """A method whose encoder does more than timm's model does, and says so nowhere."""
    job, state, base, _ = tuned("vit-full", checkpoints)
    model = restore(job, state, base)
    model.encoder.register_forward_hook(lambda module, inputs, feature: feature * 1.01)
    with pytest.raises(ValueError, match="full has no form in timm: logits would differ by"):
        write_model(tmp_path / "m", job, model, NORMALISE, NAMES, {}, str)
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


@pytest.mark.parametrize("case", ["vit-full", "vit-vpt", "vit-vpt-shallow-sound", "swin-vpt"])
def test_labels_are_those_of_a_plain_loop_and_bad_images_are_listed(exported, photographs, case):
    folder = exported[case][0]
    found = label(open_model(folder, torch.device("cpu")), images_in([photographs]), top=2, batch=2)
    assert [Path(path).name for path, _ in found.unreadable] == ["broken.jpg"]
    paths = sorted(photographs.glob("*.png")) + sorted((photographs / "deeper").glob("*.png"))
    assert [row["image"] for row in found.rows] == [str(path) for path in paths]
    model = portable.load(folder)
    for row in found.rows:
        pixels = resize_antialias(np.array(Image.open(row["image"]).convert("RGB")), SIZE) / 255
        x = torch.tensor((pixels - (0.4, 0.5, 0.6)) / (0.2, 0.3, 0.4), dtype=torch.float32).permute(2, 0, 1)[None]
        with torch.inference_mode():
            shares = model(x)[0].softmax(-1)
        order = shares.argsort(descending=True)
        assert (row["label"], row["label_2"]) == (NAMES[order[0]], NAMES[order[1]])
        assert row["confidence"] == pytest.approx(float(shares.max()), abs=1e-5)


def test_timms_transform_prepares_images_as_training_did(exported, photographs):
    import timm

    model = portable.load(exported["vit-full"][0])
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
    for path in photographs.rglob("*.png"):
        image = Image.open(path).convert("RGB")
        ours = NORMALISE(torch.from_numpy(resize_antialias(np.array(image), SIZE))[None])
        assert float((transform(image) - ours[0]).abs().max()) < 1e-5


def test_the_folders_own_script_labels_photographs(exported, photographs):
    for case in ("vit-vpt", "vit-full"):
        done = subprocess.run([sys.executable, "-s", "predict.py", str(photographs / "0.png")], capture_output=True,
                              text=True, cwd=exported[case][0], env={"PATH": ""})  # fmt: skip
        expected = label(open_model(exported[case][0], torch.device("cpu")), [photographs / "0.png"]).rows[0]
        assert done.stdout.split() == [expected["image"], expected["label"], f"{expected['confidence']:.1%}"], (
            done.stderr
        )


def test_a_photograph_taken_sideways_is_turned_before_it_is_labelled(exported, tmp_path):
    """A phone stores what its sensor saw and says in EXIF how it was held."""
    upright = np.random.default_rng(3).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(upright).save(tmp_path / "upright.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # the right side of what is stored is the bottom
    Image.fromarray(np.rot90(upright)).save(tmp_path / "turned.png", exif=exif)
    Image.fromarray(np.rot90(upright)).save(tmp_path / "as_stored.png")
    folder = exported["vit-full"][0]
    paths = [tmp_path / f"{name}.png" for name in ("upright", "turned", "as_stored")]
    one, other, stored = (row["confidence"] for row in label(open_model(folder, torch.device("cpu")), paths).rows)
    assert one == other != stored
    done = subprocess.run([sys.executable, "-s", "predict.py", *map(str, paths)], capture_output=True, text=True,
                          cwd=folder, env={"PATH": ""})  # fmt: skip
    shares = [line.split()[-1] for line in done.stdout.splitlines()]
    assert shares == [f"{share:.1%}" for share in (one, other, stored)], done.stderr


def test_folders_without_a_model_and_paths_without_images(tmp_path):
    with pytest.raises(ValueError, match=r"no config.json in it; `vptcore export` writes it"):
        open_model(tmp_path, torch.device("cpu"))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="not a model that `vptcore export` or `advise` wrote"):
        open_model(tmp_path, torch.device("cpu"))
    with pytest.raises(ValueError, match="no images in"):
        images_in([tmp_path])
    with pytest.raises(ValueError, match="no such file or folder"):
        images_in([tmp_path / "none"])


@pytest.mark.parametrize(
    "case", ["vit-vpt", "vit-vpt-shallow-sound", "swin-vpt", "eva-vpt", "beit-vpt", "vit-adaptformer"]
)
def test_onnx_gives_the_same_logits(exported, case, tmp_path):
    for name in NEEDS:
        pytest.importorskip(name, reason="needs pip install 'vptcore[onnx]'")
    import shutil

    import onnxruntime

    folder = Path(shutil.copytree(exported[case][0], tmp_path / case))
    write_onnx(folder)
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"))
    (logits,) = session.run(["logits"], {"images": pictures(SIZE).numpy()})
    assert float((torch.from_numpy(logits) - exported[case][1]).abs().max()) <= 1e-4


def test_without_its_packages_onnx_is_one_line(exported, monkeypatch):
    monkeypatch.setattr("vptcore.models.onnx_form.NEEDS", ("a_package_that_is_not_there",))
    with pytest.raises(ValueError, match=r"--onnx: needs a_package_that_is_not_there; pip install 'vptcore\[onnx\]'"):
        write_onnx(exported["vit-full"][0])
