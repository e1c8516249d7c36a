"""analysis.reference and the jobs of analysis.fid: statistics of images, their errors, and a task's row, against timm,
numpy and sqrtm.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import timm
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.numpy import load_file, save_file

from tests.vptcore.analysis.test_frechet import by_sqrtm, features, statistics
from vptcore.analysis import fid
from vptcore.analysis.fid import read_features, save_features
from vptcore.analysis.frechet import frechet_distance
from vptcore.analysis.reference import gaussian_of, read_reference, reference_hash
from vptcore.data.decode import resize_tf1
from vptcore.jobs.provenance import provenance
from vptcore.models.backbones import MINI
from vptcore.records import read_provenance, read_rows, write_rows
from vptstudy import slices
from vptstudy.cli import main
from vptstudy.cli.reference import write_reference
from vptstudy.config.resolve import load_study
from vptstudy.graph import flow

DEMO = "profiles/demo/study.yaml"
MINI_FEATURES = ("vit_mini_cifar10", 128, "pytorch-fid")

seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=40, deadline=None)
@given(seeds, st.lists(st.integers(1, 9), min_size=1, max_size=6), st.sampled_from([0.0, 1e6]))
def test_moments_in_batches_equal_those_of_all(seed, sizes, offset):
    whole = features(seed, sum(sizes) + 1, 4) + offset
    batches = np.split(whole, np.cumsum(sizes))
    found = gaussian_of(batches, sample=5)
    assert found.count == len(whole)
    assert np.allclose(found.mean_D, whole.mean(0), rtol=1e-12)
    assert np.allclose(found.covariance_DD, np.cov(whole, rowvar=False), rtol=1e-6, atol=1e-6)
    assert np.array_equal(found.sample_MD, gaussian_of([whole], sample=5).sample_MD)
    assert len(found.sample_MD) == min(5, len(whole))
    assert all((row == whole).all(1).any() for row in found.sample_MD)


# References


@pytest.fixture(scope="module")
def study():
    return load_study(yaml.safe_load(Path(DEMO).read_text()))


@pytest.fixture
def job(study, tmp_path):
    """A job slice of the demo whose reference is a file to be written."""
    return slices.fid(study, "digits") | {"reference": str(tmp_path / "reference.safetensors"), "bootstrap": 5}


def write(path, **changes):
    stored = {"mean": np.zeros(128), "covariance": np.eye(128), "count": np.array(7)} | changes
    save_file({name: array for name, array in stored.items() if array is not None}, path)


def refusal(where, network="vit_mini_cifar10", width=128, resize="pytorch-fid") -> str:
    with pytest.raises(ValueError, match=r"fid\.reference: ") as caught:
        read_reference(where, network, width, resize)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_reference_that_cannot_be_used_ends_in_one_line(tmp_path):
    path = tmp_path / "reference.safetensors"
    assert f"{path} is no file" in refusal(path)
    assert "`vptcore fid-reference" in refusal(path)
    assert "is a folder" in refusal(tmp_path)
    assert "is no file" in refusal("asset:none.safetensors")
    write(path, covariance=None, count=None)
    assert "lacks count, covariance" in refusal(path)
    write(path, mean=np.zeros(64), covariance=np.eye(64))
    assert "has a mean (64,) and a covariance (64, 64); vit_mini_cifar10 features have 128 dimensions" in refusal(path)
    write(path, covariance=np.ones(128))
    assert "a covariance (128,)" in refusal(path)
    write(path, mean=np.full(128, np.nan))
    assert "holds NaN or infinity" in refusal(path)
    write(path)
    assert "inception features have 2048 dimensions" in refusal(path, "inception", 2048)
    found = read_reference(path, *MINI_FEATURES)
    assert (found.reference.count, found.reference.sample_MD) == (7, None)
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_bytes(path.read_bytes()[:1000])
    assert "not a readable safetensors file" in refusal(path)
    path.write_bytes(b"")
    assert "not a readable safetensors file" in refusal(path)


def test_a_reference_made_in_another_network_or_with_another_resize_is_refused(tmp_path):
    stored = {"mean": np.zeros(128), "covariance": np.eye(128), "count": np.array(7)}
    path = tmp_path / "reference.safetensors"
    save_file(stored, path, metadata={"network": "vit_b16_mae"})
    assert "was made with network vit_b16_mae, but fid.network asks for vit_mini_cifar10" in refusal(path)
    save_file(stored, path, metadata={"network": "vit_mini_cifar10", "resize": "clean"})
    assert "was made with resize clean, but fid.resize asks for pytorch-fid" in refusal(path)


def test_the_shipped_reference_can_be_used():
    found = read_reference("asset:vit_mini_cifar10.reference.safetensors", *MINI_FEATURES)
    assert found.reference.count > 1000
    assert len(found.reference.sample_MD) == 1000
    inside = found.reference.sample_MD.mean(0) - found.reference.mean_D
    assert np.abs(inside).max() < 4 * np.sqrt(np.diag(found.reference.covariance_DD).max() / 1000)


def test_pytorch_fids_statistics(tmp_path):
    path, mu, sigma = tmp_path / "imagenet.npz", np.arange(2048.0), np.eye(2048)
    np.savez(path, mu=mu, sigma=sigma)
    found = read_reference(path, "inception", 2048, "pytorch-fid")
    assert (found.reference.count, found.reference.sample_MD) == (0, None)
    assert np.array_equal(found.reference.mean_D, mu)
    assert "was made with network inception" in refusal(path)
    np.savez(path, mu=mu)
    assert "lacks sigma" in refusal(path, "inception", 2048)
    np.savez(path, mu=np.array([{}]), sigma=sigma)
    assert "not pytorch-fid's .npz" in refusal(path, "inception", 2048)
    path.write_bytes(b"PK nothing")
    assert "not pytorch-fid's .npz" in refusal(path, "inception", 2048)


# Whole, with the shipped backbone


def timms_features(pixels_NHWC: np.ndarray) -> np.ndarray:
    """Features of uint8 images by timm and numpy alone."""
    from safetensors.torch import load_file

    from vptcore.models.checkpoints import find_checkpoint

    vit = timm.create_model(MINI.timm, num_classes=0, **MINI.options).eval()
    vit.load_state_dict(load_file(find_checkpoint(MINI)))
    x = torch.from_numpy(pixels_NHWC / 255).permute(0, 3, 1, 2)
    x = torch.nn.functional.interpolate(x, (MINI.size, MINI.size), mode="bilinear")
    mean, std = (torch.tensor(values, dtype=torch.float64).view(3, 1, 1) for values in (MINI.mean, MINI.std))
    with torch.no_grad():
        return vit(((x - mean) / std).float()).double().numpy()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """150 pictures of several sizes and kinds in folders, and a file that is none; with the pixels at 32 x 32."""
    root, rng, pixels = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0), {}
    for i in range(150):
        image_HW3 = np.kron(rng.integers(0, 256, (4, 4, 3)), np.ones((8 + i % 3, 8, 1))).astype(np.uint8)
        path = root / "abc"[i % 3] / ("deep/" * (i % 2)) / f"{i:03d}{('.png', '.PNG', '.bmp')[i % 3]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image_HW3).save(path)
        pixels[path] = resize_tf1(image_HW3, 32)
    (root / "notes.txt").write_text("not an image")
    return root, np.stack([pixels[path] for path in sorted(pixels)])


def test_a_reference_of_a_folder(study, folder, tmp_path):
    root, pixels = folder
    line = write_reference(study, root, tmp_path / "sub/out.safetensors")
    assert line.startswith(
        f"{tmp_path / 'sub/out.safetensors'}: 150 images in vit_mini_cifar10 features, 128 dimensions"
    )
    assert "\n" not in line
    stored, expected = load_file(tmp_path / "sub/out.safetensors"), timms_features(pixels)
    assert int(stored["count"]) == 150
    assert np.allclose(stored["mean"], expected.mean(0), atol=1e-4)
    assert np.allclose(stored["covariance"], np.cov(expected, rowvar=False), atol=1e-3)
    assert [p.name for p in (tmp_path / "sub").iterdir()] == ["out.safetensors"]


@pytest.mark.parametrize("name", ["tf1", "bilinear"])
def test_reference_images_are_resized_as_the_tasks_are(study, folder, tmp_path, name):
    """From 40 pixels to 32; TensorFlow 1's reads between floor and floor + 1 of i x scale."""
    study = replace(study, protocol=replace(study.protocol, vtab_resize=name))
    path, out = sorted(folder[0].rglob("*.bmp"))[1], tmp_path / "out.safetensors"
    image = np.asarray(Image.open(path)).astype(float)
    one = tmp_path / "one"
    one.mkdir()
    for copy in "ab":
        Image.open(path).save(one / f"{copy}.png")
    write_reference(study, one, out)

    def along(length: int) -> np.ndarray:
        shift = 0 if name == "tf1" else 0.5
        at = ((np.arange(32) + shift) * length / 32 - shift).clip(0, length - 1)
        low = np.floor(at).astype(int)
        weights = np.zeros((32, length))
        weights[range(32), low] += 1 - (at - low)
        weights[range(32), np.minimum(low + 1, length - 1)] += at - low
        return weights

    height, width = image.shape[:2]
    assert height == 40
    expected = np.einsum("yh,hwc,xw->yxc", along(height), image, along(width)).round().astype(np.uint8)
    assert np.allclose(load_file(out)["mean"], timms_features(expected[None])[0], atol=0.02)
    read_reference(out, *MINI_FEATURES, name)
    with pytest.raises(ValueError, match=f"resized by {name}, and the study's are by antialias"):
        read_reference(out, *MINI_FEATURES, "antialias")


def test_one_set_of_images_in_four_containers_is_one_reference(study, folder, tmp_path):
    """A folder, a parquet file, a folder of them and a tar hold the same bytes in the same order."""
    files = [path for path in sorted(folder[0].rglob("*")) if path.is_file() and path.suffix != ".txt"]
    encoded = [(str(path), path.read_bytes()) for path in files]
    shards = tmp_path / "shards"
    shards.mkdir()
    pq.write_table(pa.table({"image": [{"bytes": image} for _, image in encoded[:60]]}), shards / "0.parquet")
    pq.write_table(pa.table({"image": [image for _, image in encoded[60:]]}), shards / "1.parquet")
    pq.write_table(pa.table({"image": [image for _, image in encoded]}), tmp_path / "all.parquet")
    with tarfile.open(tmp_path / "all.tar", "w") as tar:
        for name, image in [*encoded, ("notes.txt", b"none")]:
            member = tarfile.TarInfo(name.lstrip("/"))
            member.size = len(image)
            tar.addfile(member, io.BytesIO(image))
    found = []
    for place in (folder[0], tmp_path / "all.parquet", shards, tmp_path / "all.tar"):
        write_reference(study, place, tmp_path / "out.safetensors")
        found.append(read_reference(tmp_path / "out.safetensors", *MINI_FEATURES))
    assert len({one.sha256 for one in found}) == 1
    assert all(np.array_equal(one.reference.mean_D, found[0].reference.mean_D) for one in found)
    assert all(len(one.reference.sample_MD) == one.reference.count == 150 for one in found)


def test_the_commands_reference_is_that_of_its_images(folder, tmp_path, capsys):
    out = tmp_path / "out.safetensors"
    assert main.main(["fid-reference", str(folder[0]), str(out), "--config", DEMO]) == 0
    assert "150 images" in capsys.readouterr().out
    found = read_reference(out, *MINI_FEATURES)
    assert frechet_distance(timms_features(folder[1]), found.reference) == pytest.approx(0, abs=0.05)
    assert "was made with network vit_mini_cifar10" in refusal(out, "another")


def test_images_that_give_no_reference_end_in_one_line(tmp_path, capsys):
    def line(images) -> str:
        assert main.main(["fid-reference", str(images), str(tmp_path / "out"), "--config", DEMO]) == 2
        printed = capsys.readouterr().err
        assert printed.count("\n") == 1
        assert not (tmp_path / "out").exists()
        return printed

    assert "no such file or folder" in line(tmp_path / "none")
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    assert "0 images found; a covariance needs at least 2" in line(pictures)
    Image.new("RGB", (8, 8)).save(pictures / "b.png")
    assert "1 image found; a covariance needs at least 2" in line(pictures)
    (pictures / "a.png").write_bytes(b"not a picture")
    assert f"{pictures / 'a.png'}: cannot be decoded" in line(pictures)
    (tmp_path / "x.tar").write_bytes(b"no tar" * 200)
    assert "x.tar: not a whole tar file" in line(tmp_path / "x.tar")
    pq.write_table(pa.table({"pixels": [1]}), tmp_path / "x.parquet")
    assert "has the columns pixels; expected image" in line(tmp_path / "x.parquet")


def test_images_in_the_config_are_made_into_statistics_by_a_job_of_their_own(tmp_path):
    config = yaml.safe_load(Path(DEMO).read_text())
    assert "reference" not in flow.fid_files(load_study(config), "digits")
    config["fid"]["reference"] = str(tmp_path)
    made = flow.fid_files(load_study(config), "digits")["reference"]
    assert made == "results/demo/reference/statistics.safetensors"
    config["fid"]["reference"] = str(tmp_path / "mine.npz")
    assert "reference" not in flow.fid_files(load_study(config), "digits")


def test_the_audit_knows_a_reference_by_the_hash_that_rows_name(tmp_path):
    """That of the images it was made from, wherever its file says so, else of the file."""
    statistics_of = {"mean": np.zeros(2), "covariance": np.eye(2), "count": np.array(5)}
    own, bare, theirs = (tmp_path / name for name in ("own.safetensors", "bare.safetensors", "theirs.npz"))
    save_file(statistics_of, own, metadata={"images_sha256": "ab"})
    save_file(statistics_of, bare)
    np.savez(theirs, mu=np.zeros(2), sigma=np.eye(2))
    for path in (own, bare, theirs):
        assert reference_hash(path) == read_reference(path, "inception", 2, "pytorch-fid").sha256
    assert reference_hash(own) == "ab"
    assert reference_hash(bare) == hashlib.sha256(bare.read_bytes()).hexdigest()
    assert reference_hash(tmp_path / "none.safetensors") is None


def test_a_tasks_row(job, study, tmp_path):
    """`features` and `run` on arrays of its own: the row's numbers follow from timm's features and sqrtm."""
    rng = np.random.default_rng(1)
    pixels = np.kron(rng.integers(0, 256, (210, 4, 4, 3)), np.ones((1, 8, 8, 1))).astype(np.uint8)
    reference_ND = timms_features(pixels[:200][::-1]) * 1.5 + 0.3
    save_file(
        dict(zip(("mean", "covariance", "count"), map(np.asarray, statistics(reference_ND)), strict=True)),
        job["reference"],
    )
    inputs = {
        "images": str(tmp_path / "images.npy"),
        "index": str(tmp_path / "index.parquet"),
        "splits": str(tmp_path / "splits.parquet"),
    }
    np.save(inputs["images"], pixels)
    blank = {"split": "train", "class_name": "", "key": "", "source": "", "sha256": "", "width": 32, "height": 32}
    note = provenance({}, {}, started=0.0)
    write_rows(inputs["index"], "index", [{"row": i, "label": i % 2, **blank} for i in range(210)], note)
    parts = ["train"] * 160 + ["val"] * 40 + ["test"] * 10
    write_rows(inputs["splits"], "splits", [{"part": part, "row": i} for i, part in enumerate(parts)], note)
    stored = {"features": str(tmp_path / "features.safetensors")}
    said = fid.features(slices.features(study, "digits"), inputs, stored)
    assert said.startswith("200 images, 128 vit_mini_cifar10 features each")
    assert np.allclose(read_features(stored["features"])[0], timms_features(pixels[:200]), atol=1e-4)
    fid.features(slices.features(study, "digits") | {"crop": 28}, inputs, stored)
    middle = pixels[:200, 2:30, 2:30]  # what a crop from the middle of the stored squares leaves
    assert np.allclose(read_features(stored["features"])[0], timms_features(middle), atol=1e-4)
    fid.features(slices.features(study, "digits"), inputs, stored)
    line = fid.run(job, stored, {"rows": str(tmp_path / "rows.parquet")})
    row = read_rows(tmp_path / "rows.parquet", "fid").iloc[0]
    assert row["fid"] == pytest.approx(by_sqrtm(timms_features(pixels[:200]), reference_ND), rel=1e-3)
    assert (row["images"], row["dimensions"], row["network"], row["reference_images"]) == (
        200,
        128,
        "vit_mini_cifar10",
        200,
    )
    assert row["fid_low"] < row["fid"] < row["fid_high"]
    assert row["fid_infinity"] < row["fid"]
    # The spread of the reference is its distance to an image at its mean, repeated.
    assert row["reference_spread"] == pytest.approx(
        by_sqrtm(np.tile(reference_ND.mean(0), (3, 1)), reference_ND), rel=1e-3
    )
    assert np.isnan(row["kid"])
    assert f"{row['fid']:.1f} [" in line
    assert read_provenance(tmp_path / "rows.parquet")["job"]["reference"] == job["reference"]
    shipped = job | {"reference": "asset:vit_mini_cifar10.reference.safetensors"}
    fid.run(shipped, stored, {"rows": str(tmp_path / "rows.parquet")})
    row = read_rows(tmp_path / "rows.parquet", "fid").iloc[0]
    assert np.isfinite([row["kid"], row["kid_std"]]).all()


def test_a_features_file_that_cannot_be_used_ends_in_one_line(tmp_path):
    path = tmp_path / "features.safetensors"
    for content, said in ((b"", "not a readable features file"), (b"x" * 50, "not a readable features file")):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=said):
            read_features(path)
    save_file({"features": np.zeros((2, 3))}, path)
    with pytest.raises(ValueError, match="not a features file of this project"):
        read_features(path)
    save_features(path, np.full((2, 3), np.nan, np.float32), {"network": "x"})
    with pytest.raises(ValueError, match="the features of 2 images hold NaN"):
        read_features(path)
