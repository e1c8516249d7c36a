"""`vptcore fid-reference`: statistics of images, for the Fréchet distance of a study.

vptcore fid-reference IMAGES data/fid_reference.safetensors
"""

from __future__ import annotations

from pathlib import Path

from vptstudy import slices
from vptstudy.cli.arguments import add_config, command, path_of
from vptstudy.config.schema import read_config
from vptstudy.study import Study


def add(commands) -> None:
    about = "compute the reference statistics of the Fréchet distance from images"
    parser = command(commands, "fid-reference", about, "vptcore fid-reference IMAGES data/fid_reference.safetensors")
    parser.add_argument("images", type=path_of, metavar="IMAGES", help="a folder, a parquet or a tar file")
    parser.add_argument("out", type=path_of, metavar="OUT", help="the .safetensors file to write")
    add_config(
        parser, default=Path("config.yaml"), help="its fid names the network and the resize (default: config.yaml)"
    )
    parser.set_defaults(do=run)


def run(options) -> int:
    from vptstudy.config.resolve import load_study

    print(write_reference(load_study(read_config(options.configfile)), options.images, options.out))
    return 0


def write_reference(study: Study, images: Path, out: Path) -> str:
    """`vptcore fid-reference`: statistics of images, in the network and resize of the study's `fid`."""
    from vptcore.analysis.fid import reference

    if not images.exists():
        raise ValueError(f"{images}: no such file or folder; expected images in a folder, parquet or tar files")
    if not study.fid_tasks:
        raise ValueError("fid: is off in this config; the reference is made in the network and resize that fid names")
    job = slices.reference(study) | {"reference": str(images)}
    return reference(job, {}, {"statistics": str(out)})
