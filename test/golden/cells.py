#!/usr/bin/env python3
"""The cells in PyTorch, from ops of torch alone: how to use their weights there, and what the GPU's results are held against.

  python3 test/golden/cells.py        (Debian's python3-torch; made with torch 1.13)
Writes, as .safetensors of float32, weights/deqreg and weights/gradirn (random, 4 channels), and cells: images, displacement u, cotangent v
and, of each learned cell, the update f(u) and the gradients of <f(u), v> for every weight and for u, computed in float64; of the classical
cells f(u), also with masks; and the level that large images are centred by.

Tensors are [N, C, D, H, W]; vectors have the channels (w, h, d) and are in voxels. The parameters have the names and shapes of the
project's .safetensors files, so  cell.load_state_dict(safetensors.torch.load_file("weights.safetensors"))  works.
"""
import json
import math
import os
import struct
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

WINDOW = 5       # of LNCC, in voxels
EPSILON = 1e-6   # keeps LNCC finite where an image is constant
FLAT = 1e-8      # the same for the regression of the fixed image on the warped one
FORCE_SMOOTHING = 0.8  # sigma of the Gaussian that smooths the force, in voxels
LIMIT = 1.0      # longest step of the similarity, in voxels
SOFTNESS = 0.3   # forces well below it move in proportion
SHORT = 0.5      # DeqReg: longest step of one update, in voxels; steps well below it stay as they are
SMOOTHING = 0.5  # and sigma of the Gaussian that smooths it, in voxels
LAMBDA = 0.1     # diffusion of one update, in voxel^2
CLASSICAL_LAMBDA = 0.18  # of the cells without weights
IDENTITY = torch.eye(3, 4, dtype=torch.float64)
IN_PLACE = False  # activations overwrite what the convolutions made: less memory


@dataclass
class Level:
    """The images of one resolution."""
    fixed: torch.Tensor              # [N, 1, D, H, W], intensities in 0...1
    moving: torch.Tensor             # [N, 1, ...], on a grid of its own
    matrix: torch.Tensor = IDENTITY  # [3, 4]: voxels (w, h, d) of the fixed grid to voxels of the moving one
    ratios: tuple = (1, 1, 1)        # finest spacing / spacing of the fixed grid along (w, h, d)

    # What does not depend on u is computed once.
    @cached_property
    def centred(self):
        return centre(self.fixed)

    @cached_property
    def moments(self):
        return moments(self.centred)

    @cached_property
    def sampled(self):
        return centre(self.moving)

    @cached_property
    def slopes(self):
        return slopes(self.sampled)


def centre(image):
    """The image less its mean; in large volumes, the mean of about every 4096th part of the voxels."""
    stride = max(1, image.numel() // 4096) | 1
    while any(math.gcd(stride, n) > 1 for n in image.shape[-2:]):  # in step with neither rows nor slices
        stride += 2
    return image - image.flatten()[::stride].mean()


def slopes(image):
    """Derivatives along (w, h, d) by differences of fourth order, the border repeated: [N, 1, D, H, W] -> [N, 3, D, H, W]."""
    taps = image.new_tensor([1, -8, 0, 8, -1]) / 12
    padded = [F.pad(image, [2 * (axis == k) for k in range(3) for _ in range(2)], mode="replicate") for axis in range(3)]
    shapes = [(1, 1, 5), (1, 5, 1), (5, 1, 1)]
    return torch.cat([F.conv3d(x, taps.reshape(1, 1, *shape)) for x, shape in zip(padded, shapes)], 1)


def positions(u, matrix):
    """M (p + u(p)) for every voxel p, [N, 3, D, H, W]."""
    d, h, w = torch.meshgrid(*[torch.arange(n, dtype=u.dtype, device=u.device) for n in u.shape[2:]], indexing="ij")
    x = torch.stack([w, h, d]) + u
    if matrix is IDENTITY:
        return x
    m = matrix.to(u)
    return torch.einsum("ij,njdhw->nidhw", m[:, :3], x) + m[:, 3].reshape(1, 3, 1, 1, 1)


def sample(image, x):
    """The image at positions x [N, 3, D, H, W], trilinear, the border repeated."""
    last = x.new_tensor(image.shape[:1:-1]) - 1
    return F.grid_sample(image, 2 * x.movedim(1, -1) / last - 1, padding_mode="border", align_corners=True)


def warp_with_gradient(level, u, similarity="exact"):
    """The moving image at M (p + u(p)), and its derivative by u there: interpolated slopes, which fade to 0 within a voxel outside."""
    x = positions(u, level.matrix)
    warped = sample(level.sampled, x)
    with constant(similarity):
        last = x.new_tensor(level.moving.shape[:1:-1]).reshape(1, 3, 1, 1, 1) - 1
        beyond = x - torch.minimum(x.clamp(min=0), last)
        gradient = (1 - beyond.abs()).clamp(min=0) * sample(level.slopes, x)
        if level.matrix is not IDENTITY:
            gradient = torch.einsum("ij,nidhw->njdhw", level.matrix[:, :3].to(u), gradient)
    return warped, gradient


def compose(u, v):
    """v(p) + u(p + v(p)), the displacement of (id + u) o (id + v)."""
    return v + sample(u, positions(v, IDENTITY))


def gaussian(x, sigma, ratios):
    """Smoothing along each axis, sigma in voxels of the finest one; cut at 3 sigma, normalised over the voxels inside."""
    for axis, ratio in zip((4, 3, 2), ratios):
        radius = math.ceil(3 * sigma * ratio)
        taps = torch.exp(-torch.arange(-radius, radius + 1, dtype=x.dtype, device=x.device) ** 2 / (2 * (sigma * ratio) ** 2))
        along = [-1 if k == axis else 1 for k in range(5)]
        inside = F.conv1d(x.new_ones(1, 1, x.shape[axis]), taps.reshape(1, 1, -1), padding=radius).reshape(along)
        channels = x.shape[1]
        kernel = taps.reshape(along).expand(channels, *[-1] * 4)
        x = F.conv3d(x, kernel, padding=[radius * (k == axis) for k in (2, 3, 4)], groups=channels) / inside
    return x


def soft_normalize(x, limit, softness, ratios):
    """A step along x, shorter than `limit` voxels of the finest spacing, in proportion to x where x is well below the softness."""
    r = x.new_tensor(ratios).reshape(1, 3, 1, 1, 1)
    return limit * r ** 2 * x / ((r * x).square().sum(1, keepdim=True) + softness ** 2).sqrt()


def mean(x):
    """Over the window, of the voxels inside."""
    return F.avg_pool3d(x, WINDOW, stride=1, padding=WINDOW // 2, count_include_pad=False)


def moments(a):
    """Mean and variance over the window."""
    mean_a = mean(a)
    return mean_a, (mean(a * a) - mean_a ** 2).clamp(min=0)


def lncc(level, b):
    """The mean over all windows of cov(a, b)^2 / (var(a) var(b)), a the fixed image."""
    (mean_a, var_a), (mean_b, var_b) = level.moments, moments(b)
    cov = mean(level.centred * b) - mean_a * mean_b
    return (cov ** 2 / (var_a * var_b + EPSILON)).mean()


def lncc_force(level, b, gradient):
    """Each window's LNCC, differentiated by b at the window's own centre, times the image's gradient."""
    a, (mean_a, var_a), (mean_b, var_b) = level.centred, level.moments, moments(b)
    cov = mean(a * b) - mean_a * mean_b
    rest = a - mean_a - cov / (var_b + FLAT) * (b - mean_b)  # of a, after its regression on b
    return 2 * cov / (var_a * var_b + EPSILON) * rest * gradient


def constant(similarity):
    """Where the similarity's force is computed: as a constant where its derivative is left out."""
    return torch.no_grad() if similarity == "detached" else nullcontext()


def similarity_step(level, u, similarity="exact"):
    """The force, smoothed, as a step of at most LIMIT voxels of the finest spacing, and the warped image."""
    warped, gradient = warp_with_gradient(level, u, similarity)
    with constant(similarity):
        force = lncc_force(level, warped, gradient)
        return soft_normalize(gaussian(force, FORCE_SMOOTHING, level.ratios), LIMIT, SOFTNESS, level.ratios), warped


def classical(u, level, step, softness, adam=False, masks=None):
    """f(u) = G[v + u o (id + v)] of no weights: G diffuses by CLASSICAL_LAMBDA, v is the smoothed and limited force; or what Adam's first step
    makes of the force, smoothed. masks: on the fixed and on the moving grid, 0...1, where the similarity counts. Also the mean of LNCC."""
    warped, gradient = warp_with_gradient(level, u)
    force = lncc_force(level, warped, gradient)
    if masks:
        force = force * masks[0] * sample(masks[1], positions(u, level.matrix))
    if adam:
        v = gaussian(step * force / (force.abs() + softness), FORCE_SMOOTHING, level.ratios) * force.new_tensor(level.ratios).reshape(1, 3, 1, 1, 1)
    else:
        v = soft_normalize(gaussian(force, FORCE_SMOOTHING, level.ratios), step, softness, level.ratios)
    return gaussian(compose(u, v), math.sqrt(2 * CLASSICAL_LAMBDA), level.ratios), lncc(level, warped)


def diffusion(u, ratios):
    """The sum over the axes of ratio times the mean square of the differences of neighbours."""
    return sum(ratio * u.diff(dim=axis).square().mean() for axis, ratio in zip((4, 3, 2), ratios))


def conv(inputs, outputs, stride=1):
    return nn.Conv3d(inputs, outputs, 3, stride=stride, padding=1)


def leaky(x):
    return F.leaky_relu(x, 0.2, inplace=IN_PLACE)


class DeqReg(nn.Module):
    """f(u) = G[v + u o (id + v)]: G diffuses by LAMBDA, v is the smoothed and limited net(u/4, step, fixed, warped), net a U-Net of two
    resolutions whose last layer sees the step again."""

    def __init__(self, channels):
        super().__init__()
        self.enter = conv(8, channels)
        self.full = conv(channels, channels)
        self.down = conv(channels, 2 * channels, stride=2)
        self.coarse = conv(2 * channels, channels)
        self.join = conv(2 * channels, channels)
        self.leave = conv(channels + 3, 3)

    def v(self, u, level, similarity="exact"):
        """The short step of one update."""
        step, warped = similarity_step(level, u, similarity)
        seen = torch.cat([u / 4, step, level.centred, warped], 1)
        fine = leaky(self.full(leaky(self.enter(seen))))
        up = F.interpolate(leaky(self.coarse(leaky(self.down(fine)))), size=fine.shape[2:], mode="trilinear", align_corners=False)
        proposed = self.leave(torch.cat([leaky(self.join(torch.cat([up, fine], 1))), step], 1))
        return soft_normalize(gaussian(proposed, SMOOTHING, level.ratios), SHORT, SHORT, level.ratios)

    def forward(self, u, level, similarity="exact"):
        return gaussian(compose(u, self.v(u, level, similarity)), math.sqrt(2 * LAMBDA), level.ratios)


class GraDIRN(nn.Module):
    """f(u) = u + tau step - net(u/4, fixed, warped), net of five convolutions."""

    def __init__(self, channels):
        super().__init__()
        self.tau = nn.Parameter(torch.full((1,), 0.5))
        self.hidden = nn.ModuleList([conv(n, channels) for n in (5, channels, channels, channels)])
        self.leave = conv(channels, 3)

    def forward(self, u, level, similarity="exact"):
        step, warped = similarity_step(level, u, similarity)
        x = torch.cat([u / 4, level.centred, warped], 1)
        for layer in self.hidden:
            x = leaky(layer(x))
        return u + self.tau * step - self.leave(x)


def save(name, tensors):
    """A .safetensors file: the header's length, the header (JSON: name to type, shape, byte range), the values."""
    arrays = {key: np.ascontiguousarray(x.detach().numpy(), dtype="<f4") for key, x in tensors.items()}
    header, end = {}, 0
    for key, a in arrays.items():
        header[key] = {"dtype": "F32", "shape": list(a.shape), "data_offsets": [end, end + a.nbytes]}
        end += a.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), name + ".safetensors")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(a.tobytes() for a in arrays.values()))
    print(f"{name}: {len(arrays)} tensors, {os.path.getsize(path)} bytes")


def texture(rng):
    """A smooth random pattern in 0...1, as a function of positions [N, 3, D, H, W]."""
    waves = [(torch.from_numpy(rng.normal(0, 0.7, 3)), rng.uniform(0, 2 * np.pi)) for _ in range(12)]
    return lambda x: torch.sigmoid(sum(torch.cos(torch.einsum("i,nidhw->ndhw", k, x) + phase) for k, phase in waves) / 2)[:, None]


def exact(x):
    """The nearest float32 numbers, as float64."""
    return x.float().double()


def make_level(rng):
    """Two images of one pattern, on grids of their own, with different contrasts and something of their own."""
    matrix = exact(torch.tensor([[0.9, 0.08, -0.05, 0.2], [-0.06, 1.02, 0.04, -0.1], [0.03, -0.07, 1.1, 0.3]], dtype=torch.float64))
    grid = positions(torch.zeros(1, 3, 7, 9, 11, dtype=torch.float64), IDENTITY)
    moving_grid = positions(torch.zeros(1, 3, 8, 9, 10, dtype=torch.float64), IDENTITY)
    common = texture(rng)
    fixed = 0.8 * common(grid) + 0.2 * texture(rng)(grid)
    back = torch.einsum("ij,njdhw->nidhw", torch.inverse(matrix[:, :3]), moving_grid - matrix[:, 3].reshape(1, 3, 1, 1, 1))
    moving = 1 - 0.7 * common(back + 0.4) - 0.3 * texture(rng)(moving_grid)
    return Level(exact(fixed), exact(moving), matrix, (1.0, 0.75, 0.5))


def make_displacement(level, rng):
    """Smooth, partly to outside the moving image, and nowhere near a voxel's face, where the interpolation has a kink."""
    zero = torch.zeros(1, 3, *level.fixed.shape[2:], dtype=torch.float64)
    grid, affine = positions(zero, IDENTITY), positions(zero, level.matrix)
    x = affine + torch.cat([2 * texture(rng)(grid) - 1 for _ in range(3)], 1)
    off = x - x.round()
    x = torch.where(off.abs() < 0.02, x.round() + torch.where(off < 0, -0.02, 0.02), x)
    return exact(torch.einsum("ij,njdhw->nidhw", torch.inverse(level.matrix[:, :3]), x - affine))


def main():
    rng = np.random.default_rng(7)
    level = make_level(rng)
    u = make_displacement(level, rng).requires_grad_(True)
    v = exact(torch.from_numpy(rng.uniform(-1, 1, u.shape)))
    goldens = {"fixed": level.fixed, "moving": level.moving, "matrix": level.matrix, "ratios": torch.tensor(level.ratios), "u": u, "v": v}
    for name, kind in [("deqreg", DeqReg), ("gradirn", GraDIRN)]:
        torch.manual_seed(7)
        cell = kind(4)
        save("weights/" + name, cell.state_dict())
        cell.double()
        if kind is DeqReg:  # u o (id + v) has kinks where v is 0 along an axis, and float32 knows positions to 5e-7
            assert cell.v(u, level).abs().min() > 2e-5, "a step ends at a voxel's face: take another seed"
        for similarity in ("exact", "detached"):
            y = cell(u, level, similarity)
            goldens[f"{name}.{similarity}.u"], *gradients = torch.autograd.grad(y, [u, *cell.parameters()], v)
        goldens[f"{name}.f"] = y
        for (key, _), gradient in zip(cell.named_parameters(), gradients):
            goldens[f"{name}.gradient.{key}"] = gradient  # the same for both: weights do not act on the force
    masks = [exact(texture(rng)(positions(torch.zeros(1, 3, *x.shape[2:], dtype=torch.float64), IDENTITY))) for x in (level.fixed, level.moving)]
    goldens["masks.fixed"], goldens["masks.moving"] = masks
    goldens["variational.f"], goldens["variational.lncc"] = classical(u, level, 0.375, 0.3)
    goldens["variational.masked.f"], _ = classical(u, level, 0.375, 0.3, masks=masks)
    goldens["adam.f"], _ = classical(u, level, 0.5, 0.1, adam=True)
    large = torch.arange(30 * 30 * 25, dtype=torch.float64).reshape(1, 1, 30, 30, 25)  # a 4096th part, 5, divides rows and slices
    goldens["large.level"] = (large - centre(large)).flatten()[:1]
    save("cells", {key: x.reshape(1) if x.dim() == 0 else x for key, x in goldens.items()})


if __name__ == "__main__":
    main()
