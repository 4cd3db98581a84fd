"""Self-attention: the paper's formula, γ = 0 at the start, no table of all pairs in memory."""

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from medtrans.networks import SelfAttention


def by_hand(block, x):
    """Zhang 2018, eq. 1-3, in NumPy: o_j = Σ_i softmax_i(q_j · k_i) v_i, y = γ o + x."""
    flat = x.detach().double().flatten(2).numpy()

    def projected(layer):
        weight, bias = layer.weight.detach().double().flatten(1).numpy(), layer.bias.detach().double().numpy()
        return np.einsum("oc,bcn->bon", weight, flat) + bias[None, :, None]

    products = np.einsum("bci,bcj->bij", projected(block.key), projected(block.query))
    shares = np.exp(products - products.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    attended = np.einsum("bci,bij->bcj", projected(block.value), shares)
    return (block.gamma.item() * attended + flat).reshape(x.shape)


@pytest.mark.parametrize("size", [(5, 7), (3, 4, 5)])
def test_equals_the_formula_of_the_paper(size):
    torch.manual_seed(0)
    block, x = SelfAttention(len(size), 16), torch.randn(2, 16, *size)
    with torch.no_grad():
        block.gamma.fill_(0.7)
    np.testing.assert_allclose(block(x).detach().numpy(), by_hand(block, x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dims", [2, 3])
def test_a_new_block_is_the_identity_and_still_learns(dims):
    torch.manual_seed(0)
    block, x = SelfAttention(dims, 8), torch.randn(1, 8, *[6] * dims)
    output = block(x)
    assert block.gamma.item() == 0
    assert torch.equal(output, x)
    output.square().sum().backward()
    assert block.gamma.grad.abs() > 0


@pytest.mark.parametrize("channels", [16, 20])
def test_no_table_of_all_pairs_of_positions_is_held(channels):
    """The only kernel allowed here never makes it; forward and backward raise where it would be needed."""
    block, x = SelfAttention(2, channels), torch.randn(1, channels, 24, 24, requires_grad=True)
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        block(x).sum().backward()
    assert x.grad is not None


def test_queries_and_keys_are_narrow():
    block = SelfAttention(2, 64)
    assert block.query.out_channels == block.key.out_channels == 8
    assert block.value.out_channels == 64
    assert SelfAttention(2, 4).query.out_channels == 1
