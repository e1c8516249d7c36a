"""Which files make up each task's original archives, where their owners have them, and under which terms.

One row per file: what it is called as downloaded, what is found where it has been unpacked instead, its size in bytes
and its address. `find` looks for them, `missing` says in one line what to put where. Sizes and addresses are those of
tensorflow_datasets' checksum files, but for the ones marked uncertain.

    vptcore data list
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vptcore.data.item import Request


@dataclass(frozen=True)
class File:
    """`name` as the owner calls it, `also` what else it may be called; `unpacked` are paths that show it unpacked.

    `size` is in bytes, 0 where it is not known. `uncertain` says what about the row is not certain.
    """

    name: str
    unpacked: tuple[str, ...] = ()
    size: int = 0
    address: str = ""
    uncertain: str = ""
    also: tuple[str, ...] = ()
    optional: bool = False


@dataclass(frozen=True)
class Archive:
    """The files of one data set; `folder` is a second name of the folder below data_root, `owner` where its terms are.

    `licence` is in words; `tasks` are read from the same files.
    """

    folder: str
    tasks: tuple[str, ...]
    owner: str
    licence: str
    files: tuple[File, ...]


VGG = "https://www.robots.ox.ac.uk/~vgg/data"
PCAM = "https://zenodo.org/record/2546921/files"
KITTI = "https://s3.eu-central-1.amazonaws.com/avg-kitti"
NORB = "https://cs.nyu.edu/~ylclab/data/norb-v1.0-small"
SVHN = "http://ufldl.stanford.edu/housenumbers"
SUN = "https://vision.princeton.edu/projects/2010/SUN"
TFDS = "https://github.com/tensorflow/datasets/tree/v4.4.0/tensorflow_datasets/image_classification"
KAGGLE = "https://www.kaggle.com/c/diabetic-retinopathy-detection/data"
NORB_TRAIN = "smallnorb-5x46789x9x18x6x2x96x96-training"
NORB_TEST = "smallnorb-5x01235x9x18x6x2x96x96-testing"
DSPRITES = "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz"


def _file(base: str, name: str, size: int, *unpacked: str, **more) -> File:
    return File(name, unpacked, size, f"{base}/{name}", **more)


def _pcam(split: str, x: int, y: int) -> tuple[File, File]:
    stem = f"camelyonpatch_level_2_split_{split}"
    return _file(PCAM, f"{stem}_x.h5.gz", x), _file(PCAM, f"{stem}_y.h5.gz", y)


def _norb(stem: str, dat: int, cat: int, info: int) -> tuple[File, ...]:
    return tuple(
        _file(NORB, f"{stem}-{kind}.mat.gz", size) for kind, size in (("dat", dat), ("cat", cat), ("info", info))
    )


ARCHIVES = (
    Archive("cifar100", ("cifar100",), "https://www.cs.toronto.edu/~kriz/cifar.html", "none stated", (
        _file("https://www.cs.toronto.edu/~kriz", "cifar-100-python.tar.gz", 169_001_437,
              "fine_label_names.txt", "meta", also=("cifar-100-binary.tar.gz",)),
    )),
    Archive("caltech101", ("caltech101",), "https://data.caltech.edu/records/mzrjq-6wc02", "CC BY 4.0", (
        _file("https://data.caltech.edu/records/mzrjq-6wc02/files", "caltech-101.zip", 137_414_764,
              "101_ObjectCategories.tar.gz", "BACKGROUND_Google", also=("101_ObjectCategories.tar.gz",)),
    )),
    Archive("dtd", ("dtd",), f"{VGG}/dtd", "research use", (
        _file(f"{VGG}/dtd/download", "dtd-r1.0.1.tar.gz", 625_239_812, "labels/train1.txt"),
    )),
    Archive("oxford_flowers102", ("oxford_flowers102",), f"{VGG}/flowers/102", "none stated", (
        _file(f"{VGG}/flowers/102", "102flowers.tgz", 344_862_509, "image_00001.jpg"),
        _file(f"{VGG}/flowers/102", "imagelabels.mat", 502),
        _file(f"{VGG}/flowers/102", "setid.mat", 14_989),
    )),
    Archive("oxford_iiit_pet", ("oxford_iiit_pet",), f"{VGG}/pets", "CC BY-SA 4.0", (
        _file("https://thor.robots.ox.ac.uk/~vgg/data/pets", "images.tar.gz", 791_918_971, "images/Abyssinian_1.jpg"),
        _file("https://thor.robots.ox.ac.uk/~vgg/data/pets", "annotations.tar.gz", 19_173_078, "trainval.txt"),
    )),
    Archive("svhn", ("svhn",), SVHN, "non-commercial", (
        _file(SVHN, "train_32x32.mat", 182_040_794),
        _file(SVHN, "test_32x32.mat", 64_275_384),
    )),
    Archive("sun397", ("sun397",), SUN, "research use", (
        _file(SUN, "SUN397.tar.gz", 39_077_296_924, "a/abbey"),
        *(_file(TFDS, f"sun397_tfds_{part}.txt", 0, optional=True) for part in ("tr", "va", "te")),
    )),
    Archive("patch_camelyon", ("patch_camelyon",), "https://zenodo.org/record/2546921", "CC0", (
        *_pcam("train", 6_421_353_462, 21_378), *_pcam("valid", 805_965_320, 3_038), *_pcam("test", 800_875_929, 3_040),
    )),
    Archive("eurosat", ("eurosat",), "https://github.com/phelber/eurosat", "MIT", (
        _file("http://madm.dfki.de/files/sentinel", "EuroSAT.zip", 94_280_567, "AnnualCrop",
              also=("EuroSAT_RGB.zip",), uncertain="the address may have moved"),
    )),
    Archive("resisc45", ("resisc45",), "http://www.escience.cn/people/JunweiHan/NWPU-RESISC45.html", "research use", (
        File("NWPU-RESISC45.zip", ("NWPU-RESISC45/airplane", "airplane"),
             address="https://1drv.ms/u/s!AmgKYzARBl5ca3HNaHIlzp_IXjs",
             uncertain="the owners give a .rar: unpack it there; size not known"),
    )),
    Archive("diabetic_retinopathy", ("diabetic_retinopathy",), KAGGLE, "Kaggle's competition rules", (
        File("train.zip", ("train/10_left.jpeg", "train"), address=KAGGLE,
             uncertain="Kaggle gives it in parts: join or unpack them to train/; size not known"),
        File("test.zip", ("test/10_left.jpeg", "test"), address=KAGGLE,
             uncertain="in parts too: join or unpack them to test/; size not known"),
        File("trainLabels.csv", address=KAGGLE),
        _file("https://storage.googleapis.com/kaggle-forum-message-attachments/90528/2877", "retinopathy_solution.csv",
              1_181_257),
    )),
    Archive("clevr", ("clevr_count", "clevr_distance"), "https://cs.stanford.edu/people/jcjohns/clevr", "CC BY 4.0", (
        _file("https://dl.fbaipublicfiles.com/clevr", "CLEVR_v1.0.zip", 19_021_600_724,
              "scenes/CLEVR_train_scenes.json"),
    )),
    Archive("dmlab", ("dmlab",), "https://github.com/google-research/task_adaptation", "Apache-2.0", (
        _file("https://storage.googleapis.com/dmlab-vtab", "dmlab.tar.gz", 3_017_022_789, "dmlab-train.tfrecord*"),
    )),
    Archive("kitti", ("kitti_distance",), "https://www.cvlibs.net/datasets/kitti", "CC BY-NC-SA 3.0", (
        _file(KITTI, "data_object_image_2.zip", 12_569_945_557, "image_2/000000.png"),
        _file(KITTI, "data_object_label_2.zip", 5_601_213, "label_2/000000.txt"),
        _file(KITTI, "devkit_object.zip", 63_794, "mapping/train_rand.txt"),
    )),
    Archive("dsprites", ("dsprites_location", "dsprites_orientation"), "https://github.com/deepmind/dsprites-dataset",
            "Apache-2.0", (
        _file("https://github.com/deepmind/dsprites-dataset/raw/master", DSPRITES, 26_700_000,
              uncertain="size rounded"),
    )),
    Archive("smallnorb", ("smallnorb_azimuth", "smallnorb_elevation"), NORB, "research use", (
        *_norb(NORB_TRAIN, 131_896_188, 348, 71_052), *_norb(NORB_TEST, 130_799_817, 347, 10_428),
    )),
)  # fmt: skip

BY_TASK: dict[str, Archive] = {task: archive for archive in ARCHIVES for task in archive.tasks}

COMPRESSED = {".tar.gz": (".tar", ".tgz"), ".tgz": (".tar", ".tar.gz"), ".gz": ("",), ".zip": (".tar", ".tar.gz")}


def folders(request: Request) -> list[Path]:
    """Where a task's files are looked for: its path, and beside it what tasks of the same files call it."""
    if request.path is None:
        return []
    path, archive = Path(request.path), BY_TASK[request.task]
    named = [path.with_name(name) for name in (archive.folder, *archive.tasks)] if path.name == request.task else []
    return list(dict.fromkeys([path, *named]))


def find(task: str, root: Path) -> dict[str, Path]:
    """{name of the file: the archive in `root`, or the folder that it is unpacked below}; files not there are left out.

    An archive as downloaded is taken before an unpacked folder.
    """
    found = {}
    for file in BY_TASK[task].files:
        place = next(_places(file, root), None)
        if place:
            found[file.name] = place
    return found


def _places(file: File, root: Path) -> Iterator[Path]:
    for name in (other for own in (file.name, *file.also) for other in _names(own)):
        if (root / name).is_file():
            yield root / name
    for marker in file.unpacked:
        for above in ("", "*/", "*/*/"):
            yield from (_above(path, marker) for path in sorted(root.glob(above + marker)))


def _names(name: str) -> Iterator[str]:
    """A file's own name, and what it is called unzipped or packed in another way."""
    yield name
    for suffix, others in COMPRESSED.items():
        if name.endswith(suffix):
            yield from (name.removesuffix(suffix) + other for other in others)
            return


def _above(path: Path, marker: str) -> Path:
    return path.parents[marker.count("/")]


def missing(request: Request) -> str:
    """The line for a task whose files are not all there: the first that lacks, and what to put where."""
    return f"{request.task}: no {_lacking(request)[0].name} found; {advice(request)}"


def advice(request: Request) -> str:
    """What to put where: the files that lack, with size and address, the licence, and where its terms are."""
    archive, places = BY_TASK[request.task], folders(request)
    where = str(places[0]) if places else f"the folder that tasks.{request.task}.path names"
    listed = "; ".join(_line(file) for file in _lacking(request))
    return f"put into {where} {listed} (licence: {archive.licence}; owner: {archive.owner})"


def _lacking(request: Request) -> list[File]:
    places = folders(request)
    found = find(request.task, places[0]) if places else {}
    return [file for file in BY_TASK[request.task].files if file.name not in found and not file.optional]


def _line(file: File) -> str:
    size = f" ({_bytes(file.size)})" if file.size else ""
    also = f" or {' or '.join(file.also)}" if file.also else ""
    uncertain = f" ({file.uncertain})" if file.uncertain else ""
    return f"{file.name}{also}{size} from {file.address}{uncertain}"


def _bytes(size: int) -> str:
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:.3g} {unit}"
    return f"{size} bytes"
