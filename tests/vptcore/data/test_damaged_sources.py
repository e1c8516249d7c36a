"""Every layout with one of its files damaged at random: whatever happens, a person reads one line that names it."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from tests.vptcore.data import archive_layouts as original
from tests.vptcore.data import layouts
from tests.vptcore.data.test_archives_dmlab import members as dmlab_members
from tests.vptcore.data.test_archives_folders import EUROSAT
from tests.vptcore.data.test_archives_listed import dtd_members, flowers, pets, sun
from tests.vptcore.data.test_archives_retinopathy import eye
from tests.vptcore.data.test_archives_retinopathy import layout as retinopathy
from tests.vptcore.data.test_archives_scenes import kitti
from tests.vptcore.data.test_fgvc import put, records
from tests.vptcore.data.test_hf import shard
from vptcore.data.arrays import prepare

KIND = [("class", "O"), ("fname", "O")]
COUNTS = {"train": 20, "test": 10}


def hf(root: Path) -> None:
    shard(root / "data/train-00000-of-00001.parquet", range(9))
    shard(root / "data/test-00000-of-00001.parquet", range(9, 15))


def own_parquet(root: Path) -> None:
    images = [layouts.encode(layouts.noise(i)) for i in range(9)]
    layouts.make_parquet(root / "mine.parquet", {"image": images, "label": [i % 3 for i in range(9)]})


def vpt(root: Path) -> None:
    put(root / "images", [f"a/{i}.jpg" for i in range(6)])
    for part, rows in {"train": [0, 1], "val": [2], "test": [3, 4, 5]}.items():
        (root / f"{part}.json").write_text(json.dumps({f"a/{i}.jpg": i % 3 for i in rows}))


def cub(root: Path) -> None:
    names = ["001.A/x.jpg", "001.A/y.jpg", "017.B/z.jpg", "017.B/w.jpg"]
    put(root / "images", names)
    texts = {"images": names, "image_class_labels": [1, 1, 17, 17], "train_test_split": [1, 0, 1, 0]}
    for name, values in texts.items():
        (root / f"{name}.txt").write_text("".join(f"{i} {value}\n" for i, value in enumerate(values, start=1)))
    (root / "classes.txt").write_text("1 Sooty A\n17 Red B\n")


def oxford_flowers(root: Path) -> None:
    put(root / "jpg", [f"image_{i:05d}.jpg" for i in range(1, 7)])
    savemat(root / "imagelabels.mat", {"labels": np.array([[2, 1, 3, 1, 2, 3]], np.uint8)})
    splits = {"trnid": [[6, 2, 1]], "valid": [[3]], "tstid": [[5, 4]]}
    savemat(root / "setid.mat", {name: np.array(ids, np.uint16) for name, ids in splits.items()})


def cars(root: Path) -> None:
    put(root, ["cars_train/00001.jpg", "cars_train/00002.jpg", "cars_test/00001.jpg"])
    (root / "devkit").mkdir()
    for name, rows in {
        "train_annos": [(1, "00001.jpg"), (2, "00002.jpg")],
        "test_annos_withlabels": [(1, "00001.jpg")],
    }.items():
        savemat(root / f"devkit/cars_{name}.mat", {"annotations": records(rows, KIND)})
    savemat(root / "devkit/cars_meta.mat", {"class_names": np.array([["AM", "Acura"]], dtype=object)})


def dogs(root: Path) -> None:
    files = {"train": ["n01-Chihuahua/a.jpg", "n02-Spaniel/b.jpg"], "test": ["n02-Spaniel/c.jpg"]}
    for part, names in files.items():
        put(root / "Images", names)
        labels = np.array([[1 if "n01" in name else 2] for name in names], np.uint8)
        savemat(
            root / f"{part}_list.mat", {"file_list": np.array([[n] for n in names], dtype=object), "labels": labels}
        )


def eyes(root: Path) -> None:
    retinopathy(root, zipped=False)
    for path in root.rglob("*.jpeg"):
        path.write_bytes(layouts.encode(eye(30), "JPEG"))


def dsprites(root: Path) -> None:
    from vptcore.data.readers.archives.table import DSPRITES

    stored = io.BytesIO()
    np.savez_compressed(stored, **original.dsprites_arrays(320))
    original.make_files(root, {DSPRITES: stored.getvalue()})


def smallnorb(root: Path) -> None:
    from vptcore.data.readers.archives.table import NORB_TEST, NORB_TRAIN

    for seed, stem in enumerate((NORB_TRAIN, NORB_TEST)):
        original.make_files(root, original.norb_members(36, stem, seed))


LAYOUTS: dict[str, tuple[str, str, int, Callable[[Path], object]]] = {
    "wds": (
        "wds",
        "mine",
        3,
        lambda root: layouts.make_wds(root, {"train": [0, 1, 2, 0, 1], "test": [2, 1]}, form="png"),
    ),
    "vtab1k": ("vtab1k", "mine", 3, lambda root: layouts.make_vtab1k(root, {"train800": 6, "val200": 3, "test": 3})),
    "folder": ("folder", "mine", 2, lambda root: layouts.make_folder(root, {"train/a": 3, "train/b": 3, "test/a": 2})),
    "parquet": ("parquet", "mine", 3, own_parquet),
    "hf": ("hf", "mine", 3, hf),
    "vpt": ("fgvc", "cub200", 3, vpt),
    "cub200": ("fgvc", "cub200", 2, cub),
    "oxford_flowers": ("fgvc", "oxford_flowers", 3, oxford_flowers),
    "stanford_cars": ("fgvc", "stanford_cars", 2, cars),
    "stanford_dogs": ("fgvc", "stanford_dogs", 2, dogs),
    "cifar100": (
        "original",
        "cifar100",
        100,
        lambda root: original.make_files(root, original.cifar_python({"train": 200, "test": 100})),
    ),
    "cifar100_tar": (
        "original",
        "cifar100",
        100,
        lambda root: original.make_tar(
            root / "cifar-100-binary.tar.gz", original.cifar_binary({"train": 200, "test": 100})
        ),
    ),
    "svhn": ("original", "svhn", 10, lambda root: original.make_svhn(root, COUNTS)),
    "patch_camelyon": (
        "original",
        "patch_camelyon",
        2,
        lambda root: original.make_pcam(root, {"train": 8, "valid": 4, "test": 4}, packed=False),
    ),
    "patch_camelyon_gz": (
        "original",
        "patch_camelyon",
        2,
        lambda root: original.make_pcam(root, {"train": 8, "valid": 4, "test": 4}),
    ),
    "clevr_count": (
        "original",
        "clevr_count",
        8,
        lambda root: original.make_files(root, original.clevr_members({"train": 16, "val": 16})),
    ),
    "clevr_zip": (
        "original",
        "clevr_distance",
        6,
        lambda root: original.make_zip(root / "CLEVR_v1.0.zip", original.clevr_members({"train": 16, "val": 16})),
    ),
    "dsprites_location": ("original", "dsprites_location", 16, dsprites),
    "smallnorb_elevation": ("original", "smallnorb_elevation", 9, smallnorb),
    "dmlab": ("original", "dmlab", 6, lambda root: original.make_files(root, dmlab_members())),
    "dmlab_tar": ("original", "dmlab", 6, lambda root: original.make_tar(root / "dmlab.tar.gz", dmlab_members())),
    "eurosat": (
        "original",
        "eurosat",
        10,
        lambda root: original.make_zip(
            root / "EuroSAT.zip",
            {f"2750/{folder}/{name}": original.jpeg(row) for row, (folder, name) in enumerate(EUROSAT)},
        ),
    ),
    "dtd": ("original", "dtd", 47, lambda root: original.make_files(root, dtd_members())),
    "oxford_flowers102": ("original", "oxford_flowers102", 102, flowers),
    "oxford_iiit_pet": ("original", "oxford_iiit_pet", 37, pets),
    "sun397": ("original", "sun397", 397, sun),
    "kitti_distance": ("original", "kitti_distance", 4, kitti),
    "diabetic_retinopathy": ("original", "diabetic_retinopathy", 5, eyes),
}


def cut(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: rng.integers(0, max(1, len(data)))]


def flip(data: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(data)
    for at in rng.integers(0, len(data), 1 + len(data) // 200) if data else ():
        changed[at] = rng.integers(0, 256)
    return bytes(changed)


def append(data: bytes, rng: np.random.Generator) -> bytes:
    return data + rng.bytes(40)


def swap_words(data: bytes, rng: np.random.Generator) -> bytes:
    """A number or a word changes places with another: the file stays what it is, and says something else."""
    words = data.split(b" ")
    a, b = rng.integers(0, len(words), 2)
    words[a], words[b] = words[b], words[a]
    return b" ".join(words)


DAMAGES = {
    "empty": lambda data, rng: b"",
    "page": lambda data, rng: b"<html>\n<title>Sign in</title>\n</html>\n",
    "zeros": lambda data, rng: bytes(len(data)),
    "noise": lambda data, rng: rng.bytes(len(data)),
    "cut": cut,
    "flip": flip,
    "append": append,
    "swap_words": swap_words,
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Callable[[str], Path]:
    """The folder of a layout, made once."""
    made: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name) / "whole"
            made[name].mkdir()
            LAYOUTS[name][3](made[name])
        return made[name]

    return folder


def job(name: str, root: Path) -> dict:
    source, task, classes, _ = LAYOUTS[name]
    path = root / "mine.parquet" if source == "parquet" else root
    return {"task": task, "source": source, "path": str(path), "classes": classes, "size": 8, "max_pool": 25_000,
            "seed": 0, "version": 1, "workers": 1, "resize": "bilinear"}  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_is_read_whole(whole, tmp_path, name):
    shutil.copytree(whole(name), tmp_path / "in")
    prepare(job(name, tmp_path / "in"), tmp_path / "a.npy", tmp_path / "a.parquet")


def damaged(whole: Path, root: Path, seed: int) -> str:
    """A copy of a layout with one file damaged, or gone; says which and how. Lists more often than images."""
    rng = np.random.default_rng(seed)
    shutil.copytree(whole, root)
    files = sorted(
        (path for path in root.rglob("*") if path.is_file()),
        key=lambda path: (path.suffix in (".jpg", ".jpeg", ".png"), path),
    )
    path = files[int(len(files) * rng.random() ** 2)]
    how = [*DAMAGES, "gone"][rng.integers(len(DAMAGES) + 1)]
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(DAMAGES[how](path.read_bytes(), rng))
    return f"{path.relative_to(root)}: {how}"


def holds(name: str, whole: Path, folder: Path, seed: int) -> None:
    what = damaged(whole, folder / "in", seed)
    try:
        prepare(job(name, folder / "in"), folder / "a.npy", folder / "a.parquet")
    except ValueError as error:
        line = str(error)
        assert "\n" not in line, (what, line)
        assert str(folder / "in") in line, (what, line)
        assert sorted(path.name for path in folder.iterdir()) == ["in"], what
    except Exception as error:
        raise AssertionError(f"{what}: {error!r}") from error


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_damaged_file_is_one_line_that_names_it(whole, tmp_path, name):
    # An eye takes 0.05 s to prepare, and there are 40.
    for seed in range(2 if name == "diabetic_retinopathy" else 6):
        (tmp_path / str(seed)).mkdir()
        holds(name, whole(name), tmp_path / str(seed), seed)


def test_a_file_that_crashes_scipys_parser_is_one_line(whole, tmp_path):
    holds("oxford_flowers", whole("oxford_flowers"), tmp_path, 67)
