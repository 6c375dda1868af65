"""Random flips, rotation, zoom, shift, colour and detail for a whole batch at once, on the device that holds it.

Geometry is one affine resampling and colour is one 3 x 4 matrix an image, with the normalisation folded in, so that
the cost does not grow with the number of transforms. Hue, blur, sharpness and erasing follow where they are asked for;
otherwise they cost nothing and draw nothing. The random numbers are drawn on the CPU from a passed generator: the same
on every device.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import lru_cache

import torch
from torch.nn import functional

from cv_folds.training.detail import blur, draw_blur, draw_boxes, draw_sharpness, erase_, sharpen
from cv_folds.training.hue import shift_hue
from cv_folds.training.pixels import Normalisation, mean_and_std
from cv_folds.training.settings import AugmentationSettings

# Values of the images that a CPU thread takes through all transforms at a time; measured: half or twice as many make
# no difference, a whole batch takes 1.4 times as long.
_PART_VALUES = 2**20

# ITU-R BT.601 luma, the grey of torchvision's colour transforms.
_GREY = (0.2989, 0.587, 0.114)

# Values from 0 to 1.
_UNIT = Normalisation(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


@dataclass(frozen=True, kw_only=True)
class AugmentationParameters:
    """What is done to each image of a batch; tensors have shape (n,), where nothing else is said, and dtype float32."""

    flip_x: torch.Tensor
    """-1 for a left-right flip, else 1."""
    flip_y: torch.Tensor
    """-1 for an upside-down flip, else 1."""
    angle: torch.Tensor
    """Rotation in radians, counter-clockwise as seen on the screen."""
    scale: torch.Tensor
    """Above 1 the image appears larger."""
    shift_x: torch.Tensor
    """Translation to the right, as a share of the image side."""
    shift_y: torch.Tensor
    """Translation downwards, as a share of the image side."""
    brightness: torch.Tensor
    """Factor on every channel; 1 changes nothing."""
    contrast: torch.Tensor
    """Factor on the distance from the image's mean grey."""
    saturation: torch.Tensor
    """Factor on the distance from each pixel's grey."""
    hue: torch.Tensor | None = None
    """Turn of the hue as a share of the colour circle; None for no turn of any."""
    blur: torch.Tensor | None = None
    """(n, taps) kernels of `draw_blur`; None without blur."""
    sharpness: torch.Tensor | None = None
    """Factor on the distance from the smoothed image; None without such a change."""
    erased: torch.Tensor | None = None
    """(n, 4) rectangles of `draw_boxes`; None without any."""

    def to(self, device: torch.device) -> AugmentationParameters:
        """Return the same parameters on a device."""
        return self._changed(lambda values: values.to(device, non_blocking=True))

    def rows(self, which: slice) -> AugmentationParameters:
        """Return the parameters of some images, in order."""
        return self._changed(lambda values: values[which])

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return those that are there, by name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    def _changed(self, change: Callable[[torch.Tensor], torch.Tensor]) -> AugmentationParameters:
        return AugmentationParameters(**{name: change(value) for name, value in self.tensors().items()})


def draw_parameters(n: int, settings: AugmentationSettings, generator: torch.Generator) -> AugmentationParameters:
    """Draw the parameters of `n` images from a CPU generator; what is off beyond geometry and colour draws nothing."""

    def uniform(low: float, high: float) -> torch.Tensor:
        return torch.rand(n, generator=generator) * (high - low) + low

    def sign(probability: float) -> torch.Tensor:
        return 1 - 2 * (torch.rand(n, generator=generator) < probability).float()

    angle = math.radians(settings.rotation)
    zoom = math.log1p(settings.zoom)
    return AugmentationParameters(
        flip_x=sign(settings.horizontal_flip),
        flip_y=sign(settings.vertical_flip),
        angle=uniform(-angle, angle),
        scale=uniform(-zoom, zoom).exp(),
        shift_x=uniform(-settings.shift, settings.shift),
        shift_y=uniform(-settings.shift, settings.shift),
        brightness=uniform(1 - settings.brightness, 1 + settings.brightness),
        contrast=uniform(1 - settings.contrast, 1 + settings.contrast),
        saturation=uniform(1 - settings.saturation, 1 + settings.saturation),
        # From here on nothing may be drawn that is off: what comes after would be another for every older recipe.
        hue=uniform(-settings.hue, settings.hue) if settings.hue > 0 else None,
        blur=draw_blur(n, settings.blur, settings.blur_sigma, generator) if settings.blur > 0 else None,
        sharpness=(
            draw_sharpness(n, settings.sharpness, settings.sharpness_factor, generator)
            if settings.sharpness > 0
            else None
        ),
        erased=(
            draw_boxes(n, settings.erasing, settings.erasing_area, settings.erasing_ratio, generator)
            if settings.erasing > 0
            else None
        ),
    )


def augment(pixels: torch.Tensor, parameters: AugmentationParameters, normalisation: Normalisation) -> torch.Tensor:
    """Change a batch and normalise it.

    Parameters
    ----------
    pixels : (n, size, size, 3) uint8 tensor
        RGB images.
    parameters : AugmentationParameters
        One value an image; best on the device of `pixels` already.
    normalisation : Normalisation
        Applied after clamping to the range of pixels; erased pixels are 0 then, the mean colour.

    Returns
    -------
    (n, 3, size, size) float32 tensor
        On the device of `pixels`; on a CPU in channels-last memory order. What a rotation uncovers is filled by
        reflection.
    """
    n, size = len(pixels), pixels.shape[1]
    means = _means(parameters)
    if pixels.device.type != "cpu":
        return _augment_part(pixels, parameters, normalisation, means)
    # A few images at a time go through all transforms before they leave the processor's cache.
    part = max(1, torch.get_num_threads() * _PART_VALUES // (3 * size * size))
    changed = torch.empty((n, 3, size, size), memory_format=torch.channels_last)
    for start in range(0, n, part):
        which = slice(start, start + part)
        changed[which] = _augment_part(pixels[which], parameters.rows(which), normalisation, means)
    return changed


@dataclass(frozen=True, kw_only=True)
class _Means:
    """Which transforms a batch needs at all."""

    affine: bool
    """Resample; without it, images are flipped at most."""
    colour: bool
    """Change colours by the matrix."""
    detail: bool
    """Change what no matrix can, before the normalisation."""


def _means(parameters: AugmentationParameters) -> _Means:
    detail = any(values is not None for values in (parameters.hue, parameters.blur, parameters.sharpness))
    if parameters.angle.device.type != "cpu":
        # To ask would make the host wait for the device.
        return _Means(affine=True, colour=True, detail=detail)
    still = [parameters.angle == 0, parameters.scale == 1, parameters.shift_x == 0, parameters.shift_y == 0]
    plain = [parameters.brightness == 1, parameters.contrast == 1, parameters.saturation == 1]
    return _Means(affine=not torch.stack(still).all(), colour=not torch.stack(plain).all(), detail=detail)


def _augment_part(
    pixels: torch.Tensor, parameters: AugmentationParameters, normalisation: Normalisation, means: _Means
) -> torch.Tensor:
    # Reordered as bytes, since converting across the order of memory is slow.
    planes = pixels.permute(0, 3, 1, 2).contiguous()
    images = resample(planes.float(), parameters) if means.affine else _flip(planes, parameters).float()
    if means.detail:
        images = _detailed(recolour(images, parameters, _UNIT) if means.colour else images.div_(255), parameters)
        images = _normalised(images.mul_(255), normalisation)
    elif means.colour:
        images = recolour(images, parameters, normalisation)
    else:
        images = _normalised(images, normalisation)
    return images if parameters.erased is None else erase_(images, parameters.erased)


def _detailed(images: torch.Tensor, parameters: AugmentationParameters) -> torch.Tensor:
    """Turn the hue, then blur, then sharpen (n, 3, size, size) images of 0..1."""
    if parameters.hue is not None:
        images = shift_hue(images, parameters.hue)
    if parameters.blur is not None:
        images = blur(images, parameters.blur)
    if parameters.sharpness is not None:
        images = sharpen(images, parameters.sharpness)
    return images


def _normalised(images: torch.Tensor, normalisation: Normalisation) -> torch.Tensor:
    """Normalise (n, 3, size, size) images of 0..255 in place."""
    mean, std = mean_and_std(normalisation, images.device)
    return images.sub_(mean[:, None, None]).div_(std[:, None, None])


def _flip(images: torch.Tensor, parameters: AugmentationParameters) -> torch.Tensor:
    """Flip (n, 3, size, size) images of any dtype on the CPU."""
    flipped = torch.empty_like(images)
    signs = zip(parameters.flip_y.tolist(), parameters.flip_x.tolist(), strict=True)
    for image, target, flips in zip(images, flipped, signs, strict=True):
        target.copy_(image.flip([dim for dim, sign in zip((1, 2), flips, strict=True) if sign < 0]))
    return flipped


def resample(images: torch.Tensor, parameters: AugmentationParameters) -> torch.Tensor:
    """Flip, rotate, zoom and shift (n, 3, size, size) float32 images, bilinearly, filling by reflection."""
    height, width = images.shape[2:]
    theta = affine_matrices(parameters).to(images.device, non_blocking=True)
    # `affine_grid` in complex numbers, x + iy: one addition a pixel instead of a matrix product.
    across, down, offset = torch.view_as_complex(theta.transpose(1, 2).contiguous())[:, :, None].unbind(1)
    rows, columns = down * _centres(height, images.device) + offset, across * _centres(width, images.device)
    grid = torch.view_as_real(rows[:, :, None] + columns[:, None, :])
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def affine_matrices(parameters: AugmentationParameters) -> torch.Tensor:
    """Return the (n, 2, 3) float32 matrices that map output positions to input positions, both in -1..1."""
    cos, sin = parameters.angle.cos(), parameters.angle.sin()
    across, down = 2 * parameters.shift_x, 2 * parameters.shift_y
    # Output to input is the inverse of: flip, then turn and scale, then shift. The y axis points down.
    inverse = torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], 1)
    inverse = inverse / parameters.scale[:, None, None]
    inverse = torch.stack([parameters.flip_x, parameters.flip_y], 1)[:, :, None] * inverse
    offset = -(inverse @ torch.stack([across, down], 1)[:, :, None])
    return torch.cat([inverse, offset], dim=2)


def recolour(images: torch.Tensor, parameters: AugmentationParameters, normalisation: Normalisation) -> torch.Tensor:
    """Change brightness, then contrast, then saturation, clamp to 0..255, and normalise.

    Parameters
    ----------
    images : (n, 3, size, size) float32 tensor
        Values from 0 to 255.
    parameters : AugmentationParameters
        The colour factors.
    normalisation : Normalisation
        Folded into the matrix; the clamp happens in normalised units.

    Returns
    -------
    (n, 3, size, size) float32 tensor
    """
    device = images.device
    grey, identity = _constants(device)
    brightness, contrast, saturation = (
        factor.to(device, non_blocking=True)[:, None]
        for factor in (parameters.brightness, parameters.contrast, parameters.saturation)
    )
    mean_grey = (images.mean(dim=(2, 3)) @ grey)[:, None] * brightness
    # Each pixel x becomes: saturation * c + (1 - saturation) * grey(c), with c = contrast * brightness * x + rest.
    gain = (contrast * brightness)[:, :, None]
    mixing = gain * (saturation[:, :, None] * identity + (1 - saturation)[:, :, None] * grey)
    # The greys sum to 0.9999, not to 1: the constant part goes through the same mixing as the pixels.
    rest = (1 - contrast) * mean_grey * (saturation + (1 - saturation) * grey.sum())
    mean, std = mean_and_std(normalisation, device)
    matrix = mixing / std[:, None]
    offset = (rest - mean) / std
    n, channels, height, width = images.shape
    changed = torch.baddbmm(offset[:, :, None], matrix, images.reshape(n, channels, height * width))
    changed = changed.reshape(n, channels, height, width)
    # Channel by channel: bounds that are tensors are several times slower on a CPU.
    for plane, centre, spread in zip(changed.unbind(1), normalisation.mean, normalisation.std, strict=True):
        plane.clamp_(-centre / spread, (1 - centre) / spread)
    return changed


@lru_cache
def _centres(n: int, device: torch.device) -> torch.Tensor:
    """Return the (n,) float32 middles of n pixels that together span -1..1."""
    return (torch.arange(n, device=device) * 2 + 1) / n - 1


@lru_cache
def _constants(device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor(_GREY, device=device), torch.eye(3, device=device)
