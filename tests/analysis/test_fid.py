"""analysis.fid: singular values against sqrtm, pytorch-fid and the closed form; references and their errors."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import timm
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.numpy import load_file, save_file

from vptcore import cli
from vptcore.analysis import fid
from vptcore.analysis.fid import bootstrap_interval, frechet_distance, gaussian_of, reference_of, write_reference
from vptcore.data.decode import resize_bilinear
from vptcore.models.backbones import BACKBONES, MINI
from vptcore.records import provenance, read_provenance, read_rows, write_rows
from vptcore.study import load_study

DEMO = "profiles/demo/study.yaml"


def features(seed: int, count: int, width: int, spread: float = 1.0) -> np.ndarray:
    """Correlated features (count, width) away from the origin."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(width, width)) * spread
    return rng.normal(size=(count, width)) @ mixing + rng.normal(size=width)


def statistics(features_ND: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    return features_ND.mean(0), np.cov(features_ND, rowvar=False), len(features_ND)


def by_sqrtm(a_ND: np.ndarray, b_ND: np.ndarray) -> float:
    """The distance as it is written: |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2))."""
    (m1, s1, _), (m2, s2, _) = statistics(a_ND), statistics(b_ND)
    root = scipy.linalg.sqrtm(s1 @ s2)
    return float((m1 - m2) @ (m1 - m2) + np.trace(s1 + s2 - 2 * root.real))


# The distance

seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=40, deadline=None)
@given(seeds, st.integers(2, 12), st.integers(1, 5))
def test_equals_sqrtm(seed, width, many):
    ours, theirs = features(seed, width * (many + 1) + 2, width), features(seed + 1, width * 4 + 2, width, 2.0)
    assert frechet_distance(ours, reference_of(*statistics(theirs))) == pytest.approx(by_sqrtm(ours, theirs), rel=1e-6)


def test_equals_pytorch_fid():
    from pytorch_fid.fid_score import calculate_frechet_distance

    ours, theirs = features(0, 200, 16), features(1, 300, 16)
    (m1, s1, _), (m2, s2, _) = statistics(ours), statistics(theirs)
    try:
        expected = calculate_frechet_distance(m1, s1, m2, s2)
    except (TypeError, ValueError) as error:
        pytest.skip(f"pytorch-fid cannot be called with this scipy: {error}")
    assert frechet_distance(ours, reference_of(m2, s2, 300)) == pytest.approx(expected, rel=1e-6)


def exactly(mean_D: np.ndarray, scale_D: np.ndarray) -> np.ndarray:
    """2 D rows whose mean is `mean` and whose covariance is diag(scale^2) to the last digit."""
    width = len(mean_D)
    signs = np.concatenate([np.eye(width), -np.eye(width)]) * np.sqrt((2 * width - 1) / 2)
    return signs * scale_D + mean_D


@settings(max_examples=40, deadline=None)
@given(seeds, st.integers(1, 9))
def test_closed_form_for_diagonal_covariances(seed, width):
    rng = np.random.default_rng(seed)
    (m1, m2), (s1, s2) = rng.normal(size=(2, width)), rng.uniform(0, 3, size=(2, width))
    found = frechet_distance(exactly(m1, s1), reference_of(m2, np.diag(s2**2), 10))
    assert found == pytest.approx(np.square(m1 - m2).sum() + np.square(s1 - s2).sum(), rel=1e-9, abs=1e-9)


def test_fewer_images_than_dimensions():
    """Rank-deficient covariances, where sqrtm is of no use: by the eigenvalues of S1 S2 instead."""
    ours, theirs = features(0, 10, 40), features(1, 15, 40)
    (m1, s1, _), (m2, s2, n) = statistics(ours), statistics(theirs)
    roots = np.sqrt(np.clip(scipy.linalg.eigvals(s1 @ s2).real, 0, None))
    expected = (m1 - m2) @ (m1 - m2) + np.trace(s1 + s2) - 2 * np.sort(roots)[-9:].sum()
    assert frechet_distance(ours, reference_of(m2, s2, n)) == pytest.approx(expected, rel=1e-6)


def test_of_itself_is_zero():
    ours = features(3, 50, 8)
    assert frechet_distance(ours, reference_of(*statistics(ours))) == pytest.approx(0, abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(seeds, st.integers(2, 10))
def test_translation_and_rotation_change_nothing(seed, width):
    ours, theirs = features(seed, 4 * width, width), features(seed + 1, 5 * width, width)
    rng = np.random.default_rng(seed)
    turn, move = np.linalg.qr(rng.normal(size=(width, width)))[0], rng.normal(size=width) * 10
    before = frechet_distance(ours, reference_of(*statistics(theirs)))
    after = frechet_distance(ours @ turn + move, reference_of(*statistics(theirs @ turn + move)))
    assert after == pytest.approx(before, rel=1e-7, abs=1e-8)
    swapped = frechet_distance(theirs, reference_of(*statistics(ours)))
    assert swapped == pytest.approx(before, rel=1e-7, abs=1e-8)
    scaled = frechet_distance(3 * ours, reference_of(*statistics(3 * theirs)))
    assert scaled == pytest.approx(9 * before, rel=1e-7, abs=1e-8)


# The interval


def test_the_interval_covers_the_distance_that_samples_of_this_size_have_on_average():
    rng = np.random.default_rng(0)
    reference = reference_of(np.zeros(3), np.eye(3), 1000)
    draw = lambda: rng.normal(size=(80, 3)) @ np.diag([1.0, 2.0, 0.5]) + [1.0, 0.0, 0.0]  # noqa: E731
    average = np.mean([frechet_distance(draw(), reference) for _ in range(500)])
    intervals = [bootstrap_interval(draw(), reference, 60, seed=i) for i in range(100)]
    assert 0.85 <= np.mean([low <= average <= high for low, high in intervals]) <= 0.99


def test_the_interval_is_centred_repeatable_and_narrower_with_more_images():
    reference = reference_of(np.zeros(4), np.eye(4), 1000)
    few, many = features(0, 40, 4), features(0, 4000, 4)
    low, high = bootstrap_interval(few, reference, 50)
    assert (low + high) / 2 == pytest.approx(frechet_distance(few, reference))
    assert bootstrap_interval(few, reference, 50) == (low, high)
    assert bootstrap_interval(few, reference, 50, seed=1) != (low, high)
    narrow = bootstrap_interval(many, reference, 50)
    assert 0 < narrow[1] - narrow[0] < (high - low) / 3


@pytest.mark.parametrize("repeats", [0, 1])
def test_without_repeats_there_is_no_interval(repeats):
    assert np.isnan(bootstrap_interval(features(0, 9, 3), reference_of(np.zeros(3), np.eye(3), 9), repeats)).all()


@settings(max_examples=40, deadline=None)
@given(seeds, st.lists(st.integers(1, 9), min_size=1, max_size=6), st.sampled_from([0.0, 1e6]))
def test_moments_in_batches_equal_those_of_all(seed, sizes, offset):
    whole = features(seed, sum(sizes) + 1, 4) + offset
    batches = np.split(whole, np.cumsum(sizes))
    mean, covariance, count = gaussian_of(batches)
    assert count == len(whole)
    assert np.allclose(mean, whole.mean(0), rtol=1e-12)
    assert np.allclose(covariance, np.cov(whole, rowvar=False), rtol=1e-6, atol=1e-6)


# References


@pytest.fixture(scope="module")
def study():
    return load_study(yaml.safe_load(Path(DEMO).read_text()))


@pytest.fixture
def job(study, tmp_path):
    """A job slice of the demo whose reference is a file to be written."""
    return study.fid_slice("digits") | {"reference": str(tmp_path / "reference.safetensors"), "bootstrap": 5}


def write(path, **changes):
    stored = {"mean": np.zeros(128), "covariance": np.eye(128), "count": np.array(7)} | changes
    save_file({name: array for name, array in stored.items() if array is not None}, path)


def refusal(job) -> str:
    with pytest.raises(ValueError, match=r"fid\.reference: ") as caught:
        fid._reference(job)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_reference_that_cannot_be_used_ends_in_one_line(job, tmp_path):
    path = tmp_path / "reference.safetensors"
    assert f"no file {path}" in refusal(job)
    assert "`vptcore fid-reference" in refusal(job)
    assert "is a folder" in refusal(job | {"reference": str(tmp_path)})
    assert "no file" in refusal(job | {"reference": "asset:none.safetensors"})
    write(path, covariance=None, count=None)
    assert "lacks count, covariance" in refusal(job)
    write(path, mean=np.zeros(64), covariance=np.eye(64))
    assert "has a mean (64,) and a covariance (64, 64); vit_mini_cifar10 features have 128 dimensions" in refusal(job)
    write(path, covariance=np.ones(128))
    assert "a covariance (128,)" in refusal(job)
    write(path)
    assert "inception features have 2048 dimensions" in refusal(job | {"network": "inception"})
    assert fid._reference(job)[0].count == 7
    path.write_bytes(path.read_bytes()[:1000])
    assert "not a readable safetensors file" in refusal(job)
    path.write_bytes(b"")
    assert "not a readable safetensors file" in refusal(job)


def test_a_reference_made_in_another_network_is_refused(job, tmp_path):
    stored = {"mean": np.zeros(128), "covariance": np.eye(128), "count": np.array(7)}
    save_file(stored, job["reference"], metadata={"network": "vit_b16_mae"})
    assert "was made in vit_b16_mae features, but fid.network asks for vit_mini_cifar10" in refusal(job)


def test_the_shipped_reference_can_be_used(study):
    reference, path = fid._reference(study.fid_slice("digits"))
    stored = load_file(path)
    assert reference.count == int(stored["count"]) > 1000
    assert np.allclose(reference.root_DD @ reference.root_DD.T, stored["covariance"], atol=1e-8)
    assert reference.trace == pytest.approx(np.trace(stored["covariance"]))


# Whole, with the shipped backbone


def timms_features(pixels_NHWC: np.ndarray) -> np.ndarray:
    """Features of uint8 images by timm and numpy alone."""
    from safetensors.torch import load_file

    from vptcore.models.checkpoints import find_checkpoint

    vit = timm.create_model(MINI.timm, num_classes=0, **MINI.options).eval()
    vit.load_state_dict(load_file(find_checkpoint(MINI)))
    x = (pixels_NHWC / 255 - np.array(MINI.mean)) / np.array(MINI.std)
    with torch.no_grad():
        return vit(torch.from_numpy(x.transpose(0, 3, 1, 2)).float()).double().numpy()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """150 pictures of several sizes and kinds in folders, and a file that is none; with the pixels at 32 x 32."""
    root, rng, pixels = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0), {}
    for i in range(150):
        image_HW3 = np.kron(rng.integers(0, 256, (4, 4, 3)), np.ones((8 + i % 3, 8, 1))).astype(np.uint8)
        path = root / "abc"[i % 3] / ("deep/" * (i % 2)) / f"{i:03d}{('.png', '.PNG', '.bmp')[i % 3]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image_HW3).save(path)
        pixels[path] = resize_bilinear(image_HW3, 32)
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


def test_the_commands_reference_is_read_by_the_job(study, folder, tmp_path, capsys):
    out = tmp_path / "out.safetensors"
    assert cli.main(["fid-reference", str(folder[0]), str(out), "--config", DEMO]) == 0
    assert "150 images" in capsys.readouterr().out
    job = study.fid_slice("digits") | {"reference": str(out)}
    reference, _ = fid._reference(job)
    assert frechet_distance(timms_features(folder[1]), reference) == pytest.approx(0, abs=0.05)
    other = job | {"backbone": asdict(replace(BACKBONES["vit_mini_cifar10"], id="another"))}
    assert "was made in vit_mini_cifar10 features" in refusal(other)


def test_folders_that_give_no_reference_end_in_one_line(tmp_path, capsys):
    def line(folder) -> str:
        assert cli.main(["fid-reference", str(folder), str(tmp_path / "out"), "--config", DEMO]) == 2
        printed = capsys.readouterr().err
        assert printed.count("\n") == 1
        assert not (tmp_path / "out").exists()
        return printed

    assert "no such folder" in line(tmp_path / "none")
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    (pictures / "a.png").write_bytes(b"not a picture")
    assert "1 images found; a covariance needs at least 2" in line(pictures)
    Image.new("RGB", (8, 8)).save(pictures / "b.png")
    assert f"{pictures / 'a.png'}: cannot be decoded" in line(pictures)


def test_a_tasks_row(job, study, tmp_path):
    """`run` on arrays of its own: the row's numbers follow from timm's features and sqrtm."""
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
    line = fid.run(job, inputs, {"rows": str(tmp_path / "rows.parquet")})
    row = read_rows(tmp_path / "rows.parquet", "fid").iloc[0]
    assert row["fid"] == pytest.approx(by_sqrtm(timms_features(pixels[:200]), reference_ND), rel=1e-3)
    assert (row["images"], row["dimensions"], row["network"], row["reference_images"]) == (
        200,
        128,
        "vit_mini_cifar10",
        200,
    )
    assert row["fid_low"] < row["fid"] < row["fid_high"]
    assert f"{row['fid']:.1f} in vit_mini_cifar10 features, 200 images" in line
    assert read_provenance(tmp_path / "rows.parquet")["job"]["reference"] == job["reference"]


def test_bootstrap_equals_the_plain_resampling():
    """The same draws, each taken as a new set of images."""
    rng = np.random.default_rng(3)
    features, reference = rng.normal(size=(40, 6)), reference_of(np.zeros(6), np.eye(6), 100)
    draws, rng = [], np.random.default_rng(0)
    for _ in range(5):
        draws.append(frechet_distance(features[rng.integers(0, 40, 40)], reference))
    low, high = bootstrap_interval(features, reference, 5)
    assert (high - low) / 2 == pytest.approx(1.96 * np.std(draws, ddof=1), rel=1e-9)
