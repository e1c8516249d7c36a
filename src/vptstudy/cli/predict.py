"""`vptcore predict`: label photographs with an exported model."""

from __future__ import annotations

import sys

from vptstudy.cli.arguments import command, count, path_of


def add(commands) -> None:
    about = "label photographs with a model that export or advise wrote"
    parser = command(commands, "predict", about, "vptcore predict results/leaves/model photos --csv labels.csv")
    parser.add_argument("model", type=path_of, metavar="MODEL", help="the model's folder")
    parser.add_argument("images", type=path_of, nargs="+", metavar="IMAGES", help="image files, and folders of them")
    parser.add_argument("--csv", type=path_of, metavar="FILE", help="write the labels to this csv")
    parser.add_argument("--parquet", type=path_of, metavar="FILE", help="write the labels to this parquet")
    parser.add_argument("--top", type=count, default=1, metavar="K", help="labels per image (default: 1)")
    parser.add_argument("--batch", type=count, default=32, metavar="N", help="images at a time (default: 32)")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"], help="default: auto")
    parser.set_defaults(do=run)


def run(options) -> int:
    import pandas as pd

    from vptcore.jobs.device import open_device
    from vptcore.models.labelling import images_in, label, open_model
    from vptcore.wording import plural

    paths = images_in(options.images)
    model = open_model(options.model, open_device(options.device, lambda _: None))
    found = label(model, paths, top=options.top, batch=options.batch, on_batch=_progress(len(paths)))
    frame = pd.DataFrame(found.rows)
    _write(frame, options)
    for path, why in found.unreadable:
        print(f"not read: {path}: {why}", file=sys.stderr)
    failed = f", {len(found.unreadable):,} not read" if found.unreadable else ""
    print(f"{plural(len(found.rows), 'image')} labelled{failed}", file=sys.stderr)
    return 0 if found.rows else 1


def _progress(total: int):
    """A line that counts, where a person is looking and it takes more than one batch."""
    if not sys.stderr.isatty():
        return lambda done: None
    return lambda done: print(
        f"\r{done:,} of {total:,}", end="\n" if done >= total else "", file=sys.stderr, flush=True
    )


def _write(frame, options) -> None:
    from vptcore.records import replacing

    if options.csv:
        with replacing(options.csv) as beside:
            frame.to_csv(beside, index=False)
    if options.parquet:
        with replacing(options.parquet) as beside:
            frame.to_parquet(beside, index=False)
    if not (options.csv or options.parquet):
        for row in frame.to_dict("records"):
            places = [""] + [f"_{place}" for place in range(2, options.top + 1) if f"label_{place}" in row]
            print(row["image"], *(f"{row[f'label{end}']} {row[f'confidence{end}']:.1%}" for end in places), sep="\t")
