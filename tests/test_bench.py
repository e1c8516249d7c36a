"""The benchmark: both forms do the same work, and what it writes and refuses."""

from __future__ import annotations

from dataclasses import asdict, replace

import pyarrow.parquet as pq
import pytest
import torch

from bench import modern, ours, plain
from bench.__main__ import main, run
from bench.cases import ATTENTIONS, CASES, Case, Work, with_random_weights
from bench.measure import Row, in_turn, rows_of
from bench.plain import PlainTuned
from bench.show import SCHEMA, markdown
from vptcore.models.backbones import Backbone

OPTIONS = dict(img_size=16, patch_size=4, embed_dim=24, depth=3, num_heads=3)
TINY = Backbone("vit_test", "ViT-Test/4", "vit_tiny_patch16_224", size=16, width=24, depth=3, options=OPTIONS)
VPT, MIXED, FULL = Case("vpt", "", "vpt", 5), Case("mixed", "", "mixed", 5), Case("full", "", "full")
LORA = Case("lora", "", "lora")


@pytest.fixture
def work(tmp_path):
    torch.manual_seed(0)
    backbone = with_random_weights(TINY, tmp_path)
    return Work(backbone, batch=6, steps=1, pairs=1, workers=0, classes=4, grid_images=12)


def images(count=5):
    return torch.randn(count, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def gradients(logits_BC, parameters):
    weights = torch.linspace(-1, 1, logits_BC.numel(), dtype=logits_BC.dtype).view_as(logits_BC)
    return torch.autograd.grad((logits_BC * weights).sum(), parameters)


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("case", [VPT, MIXED, FULL, LORA], ids=lambda case: case.id)
def test_plain_equals_ours_in_logits_and_gradients(work, case, attention):
    tuned = ours.make(case, work).double().eval()
    plain_form = PlainTuned(tuned, attention).eval()
    assert {block.attn.fused_attn for block in plain_form.vit.blocks} == {attention == "fused"}
    expected, got = plain_form(images()), tuned(images())
    assert expected.std() > 0.01
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-10)
    trained = [p for p in tuned.parameters() if p.requires_grad]
    pairs = zip(gradients(got, trained), gradients(expected, trained), strict=True)
    for a, b in pairs:
        torch.testing.assert_close(a, b, rtol=0, atol=1e-10)
    if case.prompts:
        assert gradients(tuned(images()), [tuned.encoder.prompts.tokens])[0].abs().max() > 1e-6


def test_plain_equals_ours_under_prompt_dropout(work):
    """Both draw one mask per image and layer, in the same order."""
    tuned = ours.make(VPT, work).double().train()
    both = []
    for model in (tuned, PlainTuned(tuned).train()):
        torch.manual_seed(3)
        logits_BC = model(images())
        both.append((logits_BC, *gradients(logits_BC, [tuned.encoder.prompts.tokens])))
    for a, b in zip(*both, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-10)
    assert (both[0][0] - tuned.eval()(images())).abs().max() > 1e-4


@pytest.mark.parametrize("form", [plain, modern], ids=["plain", "modern"])
@pytest.mark.parametrize("case", [VPT, MIXED, FULL, LORA], ids=lambda case: case.id)
def test_an_epoch_of_either_form_leaves_the_same_parameters(work, case, form):
    """Loader, normalisation, loss, groups and optimizer included; one batch, so that its order does not matter."""
    still = replace(
        work,
        protocol=replace(work.protocol, prompt_dropout=0.0),
        backbone=replace(work.backbone, full_dropout=0.0),
    )
    a, b = ours.make(case, still), form.make(case, still, **({"compiled": False} if form is modern else {}))
    start = {name: value.clone() for name, value in PlainTuned(a).named_parameters()}
    ours.train(a, ours.load(case, still, 6), case, still)
    form.train(b, form.load(case, still, 6), case, still)
    theirs, adam = dict(b.named_parameters()), case in (FULL, LORA)
    for name, parameter in PlainTuned(a).named_parameters():
        step = float((parameter - start[name]).detach().abs().max())
        zero = "lora_A" in name  # its gradient is that of a product with B, which begins at 0
        assert (step > 1e-7) == parameter.requires_grad or zero
        torch.testing.assert_close(parameter, theirs[name], rtol=0, atol=(0.02 if adam else 1e-3) * step + 1e-9)


@pytest.mark.slow
def test_todays_form_compiled_is_todays_form(work):
    """Each block compiled, in training and in evaluation: the logits of the blocks as they are."""
    made = {compiled: modern.make(FULL, work, compiled=compiled).eval() for compiled in (True, False)}
    pixels = images().float()
    expected = made[False](pixels)
    torch.testing.assert_close(made[True](pixels), expected, rtol=0, atol=1e-5 * float(expected.detach().abs().max()))


def test_rows_take_medians_and_the_spread_of_turns():
    turns = [(2.0, 1.0, 4.0), (9.0, 3.0, 9.0), (4.0, 4.0, 1.0)]
    plainly, today = rows_of("full", "train_img_s", ["plain", "modern"], turns, "here")
    assert plainly == Row("full", "train_img_s", "plain", 4.0, 3.0, 2.0, 1.0, 3.0, "here")
    assert today == Row("full", "train_img_s", "modern", 4.0, 4.0, 1.0, 0.5, 4.0, "here")
    assert next(rows_of("full", "peak_mib", ["plain"], [(2.0, 1.0)], "here")).ratio == 0.5


def test_who_begins_goes_round():
    calls = []
    values = in_turn(*(lambda name=name: calls.append(name) or ord(name) for name in "abc"), turns=4)
    assert "".join(calls) == "abc" + "bca" + "cab" + "abc"
    assert values == [(97, 98, 99)] * 4


def test_the_pages_table_has_a_line_a_case():
    rows = [
        Row("full", "train_img_s", "plain", 6.0, 4.0, 1.5, 1.4, 1.6, "here"),
        Row("full", "train_img_s", "modern", 6.0, 5.0, 1.2, 1.1, 1.3, "here"),
        Row("full", "eval_img_s", "modern", 6.0, 5.0, 1.25, 1.1, 1.3, "here"),
        Row("linear_grid", "grid_s", "plain", 9.0, 9000.0, 1000.0, 900.0, 1100.0, "here"),
    ]
    titles, _, full, grid = markdown(rows).splitlines()
    assert titles.count("|") == full.count("|") == grid.count("|")
    cells = [cell.strip() for cell in full.split("|")]
    assert cells[1:9] == ["FT", "6", "4", "**1.5**", "1.4 – 1.6", "5", "**1.2**", "1.1 – 1.3"]
    assert cells[9:] == ["", "1.25", "", ""]
    assert "9 s" in grid
    assert "9,000 (scaled)" in grid


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cases", "vpt_30"], "'vpt_30' is unknown; did you mean 'vpt_50'? Choices: vpt_10, vpt_50"),
        (["--against", "today"], "--against: 'today' is unknown; choices: plain, modern"),
        (["--attention", "flash"], "--attention: 'flash' is unknown"),
        (["--cases", "full", "--pairs", "0"], "--pairs: 0 is too small"),
    ],
)
def test_mistakes_end_in_one_line(arguments, message, capsys):
    assert main(arguments) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert printed.count("\n") == 1


def test_a_tiny_run_writes_rows_and_a_drawing(work, tmp_path):
    out = tmp_path / "out"
    rows = run([CASES["vpt_10"], CASES["linear_grid"]], replace(work, steps=2), out)
    stored = pq.read_table(out / "bench.parquet")
    assert stored.schema.remove_metadata() == SCHEMA
    assert stored.to_pylist() == [asdict(row) for row in rows]
    assert [(row.case, row.metric, row.against) for row in rows] == [
        ("vpt_10", "peak_mib", "plain"),
        ("vpt_10", "train_img_s", "plain"),
        ("vpt_10", "eval_img_s", "plain"),
        ("linear_grid", "grid_s", "plain"),
    ]
    for row in rows:
        assert min(row.ours, row.theirs) > 0
        assert row.ratio_min <= row.ratio <= row.ratio_max
    assert (out / "bench.md").read_text().count("\n") == 2 + 2
    assert (out / "bench.pdf").read_bytes().startswith(b"%PDF")
    assert (out / "bench.png").stat().st_size > 5000
