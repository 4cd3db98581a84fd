"""UNIT: two variational autoencoders that share the inner part of their networks, and with it one latent space."""

from __future__ import annotations

from dataclasses import dataclass

from monai.networks.layers.factories import Conv
from monai.networks.layers.utils import get_norm_layer
from torch import Tensor, nn

from medtrans.errors import InputError
from medtrans.networks.initialisation import glorot_init, he_init
from medtrans.networks.norms import AFFINE_FREE, Norm, has_offset
from medtrans.networks.padding import crop_to, pad_to_multiple
from medtrans.networks.residual_block import ResidualBlock
from medtrans.networks.self_attention import SelfAttention
from medtrans.networks.spectral import spectrally_normalised

LAYER_NORM: Norm = ("group", {"num_groups": 1})
DIRECTIONS = ("source_to_target", "target_to_source")
ATTENTION_PLACES = (None, "encoder", "generator")


@dataclass(frozen=True)
class Form:
    """What the two published shapes differ in.

    Args:
        blocks: residual blocks of each domain's encoder and generator.
        shared: residual blocks of the encoder, and as many of the generator, that both domains share.
        down_kernel: kernel size of the two steps down.
        down_normalised: whether a norm follows the convolutions before the residual blocks.
        up_by_repetition: steps up by nearest neighbour, 5×5 convolution and layer norm, else transposed convolutions.
        last_kernel: kernel size of the last convolution.
        padding_mode: of all convolutions.
        slope: of the activations outside the residual blocks; 0 is ReLU.
    """

    blocks: int
    shared: int
    down_kernel: int
    down_normalised: bool
    up_by_repetition: bool
    last_kernel: int
    padding_mode: str
    slope: float


FORMS = {
    "medical": Form(3, 1, 3, False, False, 1, "zeros", 0.01),
    "later": Form(4, 0, 4, True, True, 7, "reflect", 0.0),
}


class UNIT(nn.Module):
    """Encoders and generators (decoders) of two domains with one latent space between them (Liu 2017, table 3).

    Called with an image it translates along ``direction``: ``(B, C, *spatial)`` in [-1, 1] to the other domain's
    channels, same size, in [-1, 1]. Called with ``of`` and ``to`` it goes from one space to another:
    ``network(x, "source", "code")`` encodes, ``network(z, "code", "target")`` decodes. The code is
    ``(B, 4·channels, *spatial / 4)``; training adds unit Gaussian noise to it, translation does not. Sizes that are not
    multiples of 4 are padded by replication and outputs are cropped back (decoding a code gives the padded size unless
    ``size`` says otherwise).

    The innermost residual blocks, the last of the encoder and the first of the generator, are the same tensors for both
    domains, so that both domains' losses add up in one gradient.

    The medical implementation asks for weights from N(0, 0.02), but only once its layers exist, so that Keras' default
    (Glorot) is what it trained from; so do we. At fewer channels than 64 the difference decides whether it learns.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the source domain.
        out_channels: channels of the target domain.
        channels: filters of the first convolution.
        form: ``"medical"``: the comparison on MR images (Welander 2018), three residual blocks a domain and one shared;
            ``"later"``: the authors' code of 2018, four residual blocks, nothing shared, 22,255,874 parameters at one
            channel.
        shared_blocks: shared residual blocks in the encoder, and as many in the generator; None takes the form's.
        norm: MONAI norm specification. The medical implementation applies batch norm with the statistics of its
            batch of one, which is instance norm.
        attention: ``"encoder"`` or ``"generator"`` puts self-attention behind the domain's residual blocks there.
        spectral: spectral norm on every layer of encoders and generators.
        dropout: probability at the end of each residual block; the medical implementation has 0.5.
        direction: ``"source_to_target"`` or ``"target_to_source"``, what a plain call translates to.

    Raises:
        InputError: unknown form, direction or place of attention.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        channels: int = 64,
        form: str = "medical",
        shared_blocks: int | None = None,
        norm: Norm = AFFINE_FREE,
        attention: str | None = None,
        spectral: bool = False,
        dropout: float = 0.0,
        direction: str = DIRECTIONS[0],
    ) -> None:
        super().__init__()
        for what, value, known in (
            ("form", form, tuple(FORMS)),
            ("direction", direction, DIRECTIONS),
            ("attention", attention, ATTENTION_PLACES),
        ):
            if value not in known:
                raise InputError(f"{what} {value!r}", "is unknown", f"Use one of {', '.join(map(str, known))}")
        self.direction, self.multiple = direction, 4
        shape, dims = FORMS[form], spatial_dims
        shared = shape.shared if shared_blocks is None else shared_blocks

        def residual(count: int) -> list[nn.Module]:
            return [ResidualBlock(dims, 4 * channels, norm, shape.padding_mode, 0.0, dropout) for _ in range(count)]

        def attending(place: str) -> list[nn.Module]:
            return [SelfAttention(dims, 4 * channels)] if attention == place else []

        def encoder(entering: int) -> nn.Sequential:
            down = _steps_down(shape, dims, entering, channels, norm)
            return nn.Sequential(*down, *residual(shape.blocks), *attending("encoder"))

        def generator(leaving: int) -> nn.Sequential:
            up = _steps_up(shape, dims, channels, leaving)
            return nn.Sequential(*residual(shape.blocks), *attending("generator"), *up)

        self.encoder_source, self.encoder_target = encoder(in_channels), encoder(out_channels)
        self.encoder_shared = nn.Sequential(*residual(shared))
        self.generator_shared = nn.Sequential(*residual(shared))
        self.generator_source, self.generator_target = generator(in_channels), generator(out_channels)
        self.apply(glorot_init if form == "medical" else he_init)
        if spectral:
            spectrally_normalised(self)

    def forward(self, x: Tensor, of: str = "", to: str = "", size: list[int] | None = None) -> Tensor:
        """Translate along the network's direction, or go from space ``of`` to space ``to``.

        Args:
            x: an image, or a code.
            of: ``"source"``, ``"target"`` or ``"code"``; what ``x`` is.
            to: ``"source"``, ``"target"`` or ``"code"``; what is wanted.
            size: spatial size of the image to return; None takes that of ``x``, and of a code four times its size.
        """
        if of == "" or to == "":
            forth = self.direction == "source_to_target"
            of, to = ("source", "target") if forth else ("target", "source")
        wanted: list[int] = [n * self.multiple for n in x.shape[2:]] if of == "code" else list(x.shape[2:])
        if size is not None:
            wanted = size
        if of == "source":
            x = self.encoder_shared(self.encoder_source(pad_to_multiple(x, self.multiple)))
        elif of == "target":
            x = self.encoder_shared(self.encoder_target(pad_to_multiple(x, self.multiple)))
        elif of != "code":
            raise ValueError("of is source, target or code")
        if to == "source":
            return crop_to(self.generator_source(self.generator_shared(x)), wanted)
        elif to == "target":
            return crop_to(self.generator_target(self.generator_shared(x)), wanted)
        elif to != "code":
            raise ValueError("to is source, target or code")
        return x


def _activation(slope: float) -> nn.Module:
    return nn.LeakyReLU(slope, inplace=True) if slope else nn.ReLU(inplace=True)


def _steps_down(shape: Form, dims: int, entering: int, channels: int, norm: Norm) -> list[nn.Module]:
    """c7s1, and two convolutions of stride 2 that double the filters."""
    normalised = norm if shape.down_normalised else None
    layers: list[nn.Module] = []
    for width, leaving, kernel, stride, padding in (
        (entering, channels, 7, 1, 3),
        (channels, 2 * channels, shape.down_kernel, 2, 1),
        (2 * channels, 4 * channels, shape.down_kernel, 2, 1),
    ):
        bias = not has_offset(normalised)
        convolution = Conv["conv", dims](
            width, leaving, kernel, stride, padding, padding_mode=shape.padding_mode, bias=bias
        )
        layers.append(convolution)
        if normalised is not None:
            layers.append(get_norm_layer(normalised, dims, leaving))
        layers.append(_activation(shape.slope))
    return layers


def _steps_up(shape: Form, dims: int, channels: int, leaving: int) -> list[nn.Module]:
    """Two steps that double the size and halve the filters, the last convolution, Tanh."""
    layers: list[nn.Module] = []
    for width in (4 * channels, 2 * channels):
        if shape.up_by_repetition:
            convolution = Conv["conv", dims](width, width // 2, 5, padding=2, padding_mode=shape.padding_mode)
            norm = get_norm_layer(LAYER_NORM, dims, width // 2)  # type: ignore[arg-type]
            layers += [nn.Upsample(scale_factor=2.0), convolution, norm]
        else:
            layers.append(Conv["convtrans", dims](width, width // 2, 3, 2, 1, 1))
        layers.append(_activation(shape.slope))
    kernel = shape.last_kernel
    last = Conv["conv", dims](channels, leaving, kernel, padding=kernel // 2, padding_mode=shape.padding_mode)
    return [*layers, last, nn.Tanh()]
