"""`vptcore export`: a finished cell's tuned model as a folder that plain timm loads."""

from __future__ import annotations

from vptstudy.cli.arguments import command, path_of


def add(commands) -> None:
    about = "write a finished cell's tuned model as a folder that timm loads"
    parser = command(commands, "export", about, "vptcore export results/demo vpt/digits/160 model")
    parser.add_argument("results", type=path_of, metavar="RESULTS", help="the study's folder, such as results/demo")
    parser.add_argument(
        "cell", metavar="CELL", help="words that name one cell: vpt/digits/160, or method=vpt/task=digits"
    )
    parser.add_argument("out", type=path_of, metavar="OUT", help="the folder to write")
    parser.add_argument("--seed", type=int, metavar="N", help="export the model of this seed (default: the first)")
    parser.add_argument("--onnx", action="store_true", help="write model.onnx too (needs pip install 'vptcore[onnx]')")
    parser.add_argument("--push", metavar="OWNER/NAME", help="upload it to this repository of the Hugging Face Hub")
    parser.add_argument("--public", action="store_true", help="let --push make a public repository (default: private)")
    parser.set_defaults(do=run)


def run(options) -> int:
    from vptcore.analysis.release import release
    from vptcore.models.onnx_form import write_onnx
    from vptcore.models.pushing import check_push, push

    if options.push:
        check_push(options.push)
    print(release(options.results, options.cell, options.out, options.seed))
    if options.onnx:
        print(write_onnx(options.out))
    if options.push:
        print(push(options.out, options.push, public=options.public))
    return 0
