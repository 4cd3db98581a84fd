"""Painting keeps two tissues a voxel in the right shares."""

import pytest
import torch

from medtrans.simulate.phantom.canvas import Canvas, Region, Structure
from medtrans.simulate.phantom.images import mixed
from medtrans.simulate.phantom.shapes import Implicit
from medtrans.simulate.phantom.tissues import LABELS, TISSUES


def line(n: int = 10, voxel: float = 2.0) -> tuple[Canvas, torch.Tensor]:
    x = (torch.arange(n, dtype=torch.float32) * voxel).view(n, 1, 1)
    return Canvas.blank((n, 1, 1), voxel), x


@pytest.mark.parametrize("edge", [7.0, 7.5, 8.0, 8.4, 9.0])
def test_a_plane_fills_its_exact_part_of_each_voxel(edge):
    canvas, x = line()
    canvas.paint("muscle", x - edge)
    table = torch.zeros(len(TISSUES))
    table[LABELS["muscle"]] = 1.0
    expected = ((edge - (x - 1.0)) / 2.0).clamp(0, 1)  # the voxel spans x - 1 .. x + 1
    torch.testing.assert_close(mixed(canvas, table), expected)
    assert mixed(canvas, table).sum() * 2.0 == pytest.approx(edge + 1.0)


def test_both_tissues_of_a_border_are_kept():
    canvas, x = line()
    canvas.paint("fat", x - 100)
    canvas.paint("muscle", x - 8.4)
    at = (4, 0, 0)
    assert int(canvas.main[at]) == LABELS["muscle"]
    assert int(canvas.rest[at]) == LABELS["fat"]
    assert float(canvas.share[at]) == pytest.approx(0.7)
    assert int(canvas.mostly()[at]) == LABELS["muscle"]
    assert int(canvas.mostly()[5, 0, 0]) == LABELS["fat"]


def test_share_paints_thinly_and_spares_what_it_does_not_touch():
    canvas, x = line()
    canvas.paint("fat", x - 8.4)
    before = canvas.share.clone()
    canvas.paint("muscle", x - 100, share=torch.where(x < 6, 0.25, 0.0))
    assert torch.equal(canvas.share[3:], before[3:])
    assert canvas.share[:3].flatten().tolist() == pytest.approx([0.25] * 3)
    assert int(canvas.mostly()[0, 0, 0]) == LABELS["fat"]


def test_a_block_is_a_window_on_the_canvas():
    canvas, _ = line()
    block = (slice(2, 5), slice(None), slice(None))
    Structure("test", "lens", Implicit(lambda place: place["height"])).paint(
        canvas.block(block), Region(lambda name: torch.full((3, 1, 1), -5.0))
    )
    assert (canvas.main == LABELS["lens"]).flatten().nonzero().flatten().tolist() == [2, 3, 4]


def test_region_looks_up_once_and_cuts_parts():
    asked = []

    def look_up(name):
        asked.append(name)
        return torch.arange(-4.0, 4.0).view(8, 1, 1)

    region = Region(look_up)
    part = region.part((slice(0, 2), slice(None), slice(None)))
    assert part.abs_x.flatten().tolist() == [4, 3]
    assert part.x.flatten().tolist() == [-4, -3]
    assert asked == ["x"]
