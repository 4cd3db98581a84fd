"""The head frame: structures are found where their bounds say, and cost no detail."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from medtrans.simulate.phantom.anatomy import MARGIN, Anatomy
from medtrans.simulate.phantom.grid import Grid
from medtrans.simulate.phantom.individual import LESION_SHARE, Individual, Lesion, chosen_lesion
from medtrans.simulate.phantom.shapes import EVERYWHERE


@pytest.mark.parametrize("seed", [0, 5])
def test_world_box_holds_every_point_of_its_bounds(seed):
    anatomy, grid = Anatomy(seed), Grid.covering(3.0)
    world = [grid.coordinates(axis) for axis in range(3)]
    head = torch.stack(anatomy.head_coordinates(world), -1).numpy()
    where = np.stack(np.meshgrid(*world, indexing="ij"), -1)
    rng = np.random.default_rng(seed)
    for _ in range(40):
        lower = rng.uniform(-90, 60, 3)
        upper = lower + rng.uniform(6, 30, 3)
        inside = ((head >= lower) & (head <= upper)).all(-1)
        low, high = anatomy.world_box((tuple(lower), tuple(upper)))
        assert (where[inside] >= np.array(low) + MARGIN - 1e-3).all()
        assert (where[inside] <= np.array(high) - MARGIN + 1e-3).all()


def test_painting_block_by_block_equals_painting_everything_everywhere():
    anatomy, grid = Anatomy(2, wanted_lesion=True), Grid.covering(4.0, (48, 56, 48))
    coordinates = [grid.coordinates(axis) for axis in range(3)]
    with ThreadPoolExecutor(1) as pool:
        fields = anatomy.fields_for(grid, pool)
    in_blocks, _ = anatomy.paint(coordinates, 4.0, fields)
    anatomy._boxes = [anatomy.world_box(EVERYWHERE)] * len(anatomy.layers)
    everywhere, _ = anatomy.paint(coordinates, 4.0, fields)
    # Blocks end 3 mm outside their structure, half a border of 4 mm voxels reaches 2 mm.
    assert (in_blocks.mostly() != everywhere.mostly()).float().mean() < 1e-4


def test_people_differ():
    assert Individual.draw(np.random.default_rng(0)) != Individual.draw(np.random.default_rng(1))


def test_lesion_is_wanted_refused_given_or_left_to_chance():
    draw = lambda wanted, seed=0: chosen_lesion(wanted, np.random.default_rng(seed))  # noqa: E731
    own = Lesion((30, 0, 30), (5, 5, 5))
    assert draw(own) is own
    assert draw(False) is None
    assert isinstance(draw(True), Lesion)
    share = np.mean([draw(None, seed) is not None for seed in range(400)])
    assert share == pytest.approx(LESION_SHARE, abs=0.08)
