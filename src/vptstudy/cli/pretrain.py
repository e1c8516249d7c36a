"""`vptcore pretrain`: the demo's backbone, pretrained anew on CIFAR-10 that you have."""

from __future__ import annotations

from vptstudy.cli.arguments import command, count, path_of


def add(commands) -> None:
    about = "pretrain the demo's backbone again, on your copy of CIFAR-10"
    parser = command(commands, "pretrain", about, "vptcore pretrain --data cifar10.parquet --out weights")
    parser.add_argument(
        "--data",
        type=path_of,
        required=True,
        metavar="IMAGES",
        help="a parquet file with image and label columns, or a folder of class folders",
    )
    parser.add_argument("--out", type=path_of, required=True, metavar="DIR", help="the folder to write")
    parser.add_argument("--epochs", type=count, metavar="N", help="default: 80")
    parser.add_argument(
        "--source", metavar="TEXT", help="what the images are, for the model card (default: the file's name)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="default: 0")
    parser.set_defaults(do=run)


def run(options) -> int:
    from vptcore.training.pretrain import load_images, pretrain

    images, labels = load_images(options.data)
    card = pretrain(
        images,
        labels,
        options.out,
        source=options.source or options.data.name,
        seed=options.seed,
        epochs=options.epochs,
    )
    print(
        f"held-out accuracy {card['held_out_accuracy']:.1%} after {card['minutes']} minutes; weights in {options.out}"
    )
    return 0
