#!/usr/bin/env python3
"""Deformable registration as it is usually written in PyTorch: squared local NCC with a diffusion penalty, minimised by Adam over
a displacement at every voxel of a pyramid's level, coarse to fine.

  python3 torch_lncc_adam.py FIXED MOVING --out FIELD [--warped IMAGE] [--levels 8,4,2] [--iterations 60,60,60] [--lam 0.3] …

FIXED and MOVING are NIfTI-1 on one grid. FIELD gets the displacement in voxels along (i, j, k), from fixed to moving point, as W×H×D×3
(Learn2Reg's form). Both outputs are .nii, or .nii.gz. Prints one line of JSON: the settings, seconds, peak memory.
Needs PyTorch and NumPy, nothing else.
"""
import argparse
import gzip
import json
import os
import resource
import sys
import time

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # threads that spin at barriers cost a busy machine several times the seconds

import numpy as np  # noqa: E402
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402

DTYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4"}


def read_nifti(path):
    """Values as float32 in the order (i, j, k), and the 348 bytes of the header."""
    with (gzip.open if path.endswith(".gz") else open)(path, "rb") as file:
        raw = file.read()
    order = "<" if int.from_bytes(raw[:4], "little") == 348 else ">"
    dim = np.frombuffer(raw, order + "i2", 8, 40)
    code = int(np.frombuffer(raw, order + "i2", 1, 70)[0])
    offset, slope, intercept = np.frombuffer(raw, order + "f4", 3, 108)
    if code not in DTYPES or np.prod(dim[4 : 1 + dim[0]]) > 1:
        sys.exit(f"{path}: a 3-D volume of numbers is needed, got dimensions {dim[1:1 + dim[0]]} of type {code}")
    shape = tuple(int(n) for n in dim[1:4])
    values = np.frombuffer(raw, order + DTYPES[code], int(np.prod(shape)), int(offset)).astype(np.float32)
    if np.isfinite(slope) and slope != 0:
        values = values * slope + intercept
    return values.reshape(shape, order="F"), raw[:348]


def write_nifti(path, values, header):
    """Float32 under the geometry of another file's header; a last axis of three makes it a vector field."""
    head = bytearray(header)
    order = "<" if int.from_bytes(header[:4], "little") == 348 else ">"

    def put(offset, dtype, *numbers):
        data = np.array(numbers, order + dtype).tobytes()
        head[offset : offset + len(data)] = data

    put(40, "i2", values.ndim, *values.shape, *[1] * (7 - values.ndim))
    put(68, "i2", 0, 16, 32)  # no intent; float32
    put(108, "f4", 352, 1, 0)  # where the voxels begin; unscaled
    put(124, "f4", 0, 0)  # no display range
    body = np.ascontiguousarray(values.transpose(), order + "f4").tobytes()
    with (gzip.open(path, "wb", 1) if path.endswith(".gz") else open(path, "wb")) as file:
        file.write(bytes(head) + b"\0\0\0\0" + body)


def normalised(values):
    """To 0…1: CT (anything below −500) from −1024 to 300 HU, else from the minimum to the 99.5th percentile of what lies above it."""
    low = float(values.min())
    low, high = (-1024.0, 300.0) if low < -500 else (low, float(np.percentile(values[values > low], 99.5)))
    return np.clip((values - low) / (high - low), 0, 1)


def spacing_of(header):
    order = "<" if int.from_bytes(header[:4], "little") == 348 else ">"
    return np.abs(np.frombuffer(header, order + "f4", 3, 80))


def level_size(shape, spacing, factor):
    """Extents of a level: each axis coarsened to `factor` times the finest spacing, so that thick slices are kept."""
    steps = [max(1, round(factor * float(spacing.min()) / float(s))) for s in spacing]
    return [max(1, -(-n // step)) for n, step in zip(shape, steps)]


def window_mean(x, width):
    """Mean over a cube around each voxel, one axis after another; beyond the border there is nothing."""
    for axis in range(3):
        kernel, padding = [1, 1, 1], [0, 0, 0]
        kernel[axis], padding[axis] = width, width // 2
        x = F.avg_pool3d(x, kernel, 1, padding, count_include_pad=False)
    return x


class LocalNcc:
    """Mean squared correlation of windows; what depends on the fixed image alone is computed once."""

    def __init__(self, fixed, width):
        self.fixed, self.width = fixed, width
        self.mean = window_mean(fixed, width)
        self.variance = (window_mean(fixed * fixed, width) - self.mean**2).clamp(min=0)

    def __call__(self, warped):
        mean = window_mean(warped, self.width)
        variance = (window_mean(warped * warped, self.width) - mean**2).clamp(min=0)
        covariance = window_mean(self.fixed * warped, self.width) - self.mean * mean
        return (covariance**2 / (self.variance * variance + 1e-5)).mean()


def sampling_grid(size, device):
    return F.affine_grid(torch.eye(3, 4, device=device)[None], [1, 1, *size], align_corners=False)


def warp(image, displacement, grid):
    """image(p + u(p)), u [1, 3, W, H, D] in voxels of the grid, whose last axis is k, j, i: what grid_sample calls x, y, z."""
    extent = torch.tensor(displacement.shape[2:], device=image.device).view(1, 3, 1, 1, 1)
    shift = (displacement * (2 / extent)).flip(1).permute(0, 2, 3, 4, 1)
    return F.grid_sample(image, grid + shift, mode="bilinear", padding_mode="border", align_corners=False)


def resize_field(displacement, size):
    """The field on another grid of the same box, in voxels of that."""
    ratio = [new / old for new, old in zip(size, displacement.shape[2:])]
    scale = torch.tensor(ratio, device=displacement.device).view(1, 3, 1, 1, 1)
    return F.interpolate(displacement, size=size, mode="trilinear", align_corners=False) * scale


def register(fixed, moving, spacing, args):
    shape = list(fixed.shape[2:])
    field = None
    for factor, count in zip(args.levels, args.iterations):
        size = level_size(shape, spacing, factor)
        f, m = (F.interpolate(x, size=size, mode="area") for x in (fixed, moving))
        field = torch.zeros(1, 3, *size, device=fixed.device) if field is None else resize_field(field, size)
        field = field.detach().requires_grad_(True)
        similarity, grid = LocalNcc(f, args.window), sampling_grid(size, fixed.device)
        optimizer = torch.optim.Adam([field], lr=args.lr)
        for _ in range(count):
            optimizer.zero_grad()
            roughness = sum(field.diff(dim=axis).square().mean() for axis in (2, 3, 4))
            loss = args.lam * roughness - similarity(warp(m, field, grid))
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        field = resize_field(field, shape)
        return field, warp(moving, field, sampling_grid(shape, fixed.device))


def numbers(kind):
    return lambda text: [kind(part) for part in text.split(",")]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fixed")
    parser.add_argument("moving")
    parser.add_argument("--out", help="where the displacement goes")
    parser.add_argument("--warped", help="where the warped image goes, normalised to 0…1")
    parser.add_argument("--levels", type=numbers(int), default=[8, 4, 2], help="coarsening of each level")
    parser.add_argument("--iterations", type=numbers(int), default=[60, 60, 60], help="steps of Adam on each level")
    parser.add_argument("--lam", type=float, default=0.3, help="weight of the diffusion penalty")
    parser.add_argument("--lr", type=float, default=0.1, help="Adam's rate, voxels of the level")
    parser.add_argument("--window", type=int, default=9, help="width of the window, voxels, odd")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, default=0, help="of the CPU; 0 is PyTorch's own choice")
    args = parser.parse_args()
    if len(args.levels) != len(args.iterations):
        parser.error("--levels and --iterations need as many numbers each")
    if args.threads:
        torch.set_num_threads(args.threads)

    started = time.time()
    (fixed, header), (moving, _) = read_nifti(args.fixed), read_nifti(args.moving)
    if fixed.shape != moving.shape:
        sys.exit(f"{args.fixed} has {fixed.shape} voxels, {args.moving} {moving.shape}; one grid is needed")
    fixed, moving = (torch.from_numpy(normalised(x))[None, None].to(args.device) for x in (fixed, moving))
    read = time.time()
    field, warped = register(fixed, moving, spacing_of(header), args)
    field, warped = field[0].permute(1, 2, 3, 0).cpu().numpy(), warped[0, 0].cpu().numpy()
    solved = time.time()
    if args.out:
        write_nifti(args.out, field, header)
    if args.warped:
        write_nifti(args.warped, warped, header)
    settings = {name: getattr(args, name) for name in ("levels", "iterations", "lam", "lr", "window", "device")}
    seconds = {"read": read - started, "solve": solved - read, "write": time.time() - solved}
    peak = {"maxRssMB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}
    if args.device != "cpu":
        peak["maxCudaMiB"] = torch.cuda.max_memory_allocated() // 2**20
    print(json.dumps({"peer": "torch_lncc_adam", **settings, "seconds": {k: round(v, 2) for k, v in seconds.items()}, **peak}))


if __name__ == "__main__":
    main()
