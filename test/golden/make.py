#!/usr/bin/env python3
"""Writes goldens.json and goldens.bin: PyTorch's values and gradients, in float64, for the ops of the reference.

  python3 test/golden/make.py        (Debian's python3-torch; made with torch 1.13)
Inputs and cotangents are exact float32 numbers and stored as such; outputs and gradients are float64.
"""
import json
import os

import numpy as np
import torch
import torch.nn.functional as F

HERE = os.path.dirname(os.path.abspath(__file__))
SPATIAL = (4, 3, 2)  # dimensions of [N, C, D, H, W] in the order (w, h, d)
rng = np.random.default_rng(2024)
records, blob = [], bytearray()


def uniform(shape, low=-1.0, high=1.0):
    return torch.from_numpy(rng.uniform(low, high, shape).astype(np.float32)).double()


def store(x):
    """Appends an array, as float32 where that is exact."""
    a = np.ascontiguousarray(x.detach().numpy(), dtype=np.float64)
    exact = np.array_equal(a, a.astype(np.float32))
    while len(blob) % 8:
        blob.append(0)
    entry = {"shape": list(a.shape), "type": "f4" if exact else "f8", "at": len(blob)}
    blob.extend(a.astype("<f4" if exact else "<f8").tobytes())
    return entry


def golden(op, forward, inputs, attrs={}, constants=0):
    """The first inputs, so many as there are constants, have no gradient."""
    inputs = [x.clone().requires_grad_(i >= constants) for i, x in enumerate(inputs)]
    differentiable = constants < len(inputs)
    y = forward(*inputs)
    y = y.reshape(1) if y.dim() == 0 else y
    cotangent = uniform(tuple(y.shape), 0.2, 1.0)
    grads = [None] * constants + (list(torch.autograd.grad(y, inputs[constants:], cotangent)) if differentiable else [])
    records.append({"op": op, "attrs": attrs, "inputs": [store(x) for x in inputs], "outputs": [store(y)],
                    "cotangent": store(cotangent) if differentiable else None,
                    "grads": [None if g is None else store(g) for g in grads]})


# --- warp

IDENTITY = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0]
MATRIX = [float(np.float32(x)) for x in (0.9, 0.1, -0.05, 0.3, -0.2, 1.1, 0.15, -0.4, 0.05, -0.1, 0.8, 0.7)]


def positions(u, matrix):
    """Image positions [N, 3, D, H, W] in voxels, channels (w, h, d)."""
    d, h, w = torch.meshgrid(*[torch.arange(n, dtype=torch.float64) for n in u.shape[2:]], indexing="ij")
    m = torch.tensor(matrix, dtype=torch.float64).reshape(3, 4)
    return torch.einsum("ij,njdhw->nidhw", m[:, :3], torch.stack([w, h, d])[None] + u) + m[:, 3].reshape(1, 3, 1, 1, 1)


def warp(mode, matrix):
    def forward(image, u):
        q = positions(u, matrix)
        sizes = [image.shape[k] for k in SPATIAL]
        grid = torch.stack([2 * q[:, a] / (sizes[a] - 1) - 1 if sizes[a] > 1 else 0 * q[:, a] for a in range(3)], -1)
        return F.grid_sample(image, grid, mode=mode, padding_mode="border", align_corners=True)
    return forward


def displacement(shape, reach, matrix, kinks):
    """Random, with no position within 0.02 voxel of an integer (kinks=1: slopes jump) or a half (kinks=2: the nearest voxel does, too)."""
    u = uniform(shape, -reach, reach)
    while True:
        near = ((positions(u, matrix) * kinks - (positions(u, matrix) * kinks).round()).abs() < 0.02 * kinks).any(1, keepdim=True)
        if not near.any():
            return u
        u = torch.where(near, uniform(shape, -reach, reach), u)


for image_shape, u_shape, reach, matrix in [
    ((1, 1, 4, 5, 7), (1, 3, 4, 5, 7), 0.4, None),
    ((2, 2, 4, 5, 3), (2, 3, 4, 5, 3), 3.0, None),
    ((1, 2, 3, 5, 4), (1, 3, 5, 3, 7), 1.5, None),
    ((2, 1, 4, 5, 6), (2, 3, 5, 3, 7), 2.0, MATRIX),
    ((1, 1, 1, 5, 6), (1, 3, 1, 5, 6), 1.5, None),
]:
    attrs = {"matrix": matrix} if matrix else {}
    matrix = matrix or IDENTITY
    golden("warp", warp("bilinear", matrix), [uniform(image_shape), displacement(u_shape, reach, matrix, 1)], attrs)
    inputs = [uniform(image_shape), displacement(u_shape, reach, matrix, 2)]
    golden("warpNearest", warp("nearest", matrix), inputs, attrs, constants=2)

# --- separable filters


def resize(size):
    def forward(x):
        # Shrinking axes: the mean over each output voxel's extent, every voxel cut into `new` equal parts, `old` of them to a mean.
        for dim, new in zip((2, 3, 4), size):
            old = x.shape[dim]
            if new < old:
                parts = x.repeat_interleave(new, dim).movedim(dim, -1)
                x = F.avg_pool1d(parts.reshape(-1, 1, old * new), old).reshape(*parts.shape[:-1], new).movedim(-1, dim)
        return F.interpolate(x, size=size, mode="trilinear", align_corners=False)
    return forward


for shape, size in [((2, 1, 3, 4, 5), [6, 8, 7]), ((1, 1, 3, 4, 5), [5, 4, 7]), ((1, 1, 1, 4, 5), [3, 7, 5]),
                    ((1, 2, 4, 6, 10), [2, 3, 5]), ((1, 1, 7, 5, 9), [3, 2, 4]),
                    ((2, 1, 5, 3, 7), [3, 7, 7]), ((1, 1, 3, 4, 5), [1, 4, 1])]:
    golden("resize", resize(size), [uniform(shape)], {"size": size})


def along(x, dim, kernel):
    """Correlation with a 1-D kernel along one dimension, zero outside."""
    y = x.movedim(dim, -1)
    flat = F.conv1d(y.reshape(-1, 1, y.shape[-1]), kernel.reshape(1, 1, -1), padding=len(kernel) // 2)
    return flat.reshape(y.shape).movedim(-1, dim)


def gaussian(sigma):
    def forward(x):
        for dim, s in zip(SPATIAL, sigma):
            if s > 0:
                k = torch.arange(-np.ceil(3 * s), np.ceil(3 * s) + 1, dtype=torch.float64)
                kernel = torch.exp(-k * k / (2 * s * s))
                x = along(x, dim, kernel) / along(torch.ones_like(x), dim, kernel)
        return x
    return forward


for shape, sigma in [((1, 1, 4, 5, 7), [1, 1, 1]), ((2, 2, 3, 4, 7), [0.75, 0, 1.5]), ((1, 1, 1, 5, 6), [2.5, 2.5, 2.5])]:
    golden("gaussian", gaussian(sigma), [uniform(shape)], {"sigma": sigma})


def window_sum(window):
    widths = window if isinstance(window, list) else [window] * 3
    kernel = torch.ones(1, 1, *widths[::-1], dtype=torch.float64)

    def forward(x):
        flat = x.reshape(-1, 1, *x.shape[2:])
        return F.conv3d(flat, kernel, padding=[w // 2 for w in widths[::-1]]).reshape(x.shape)
    return forward


for shape, window in [((1, 1, 4, 5, 7), 3), ((2, 2, 3, 4, 5), [5, 1, 3]), ((1, 1, 1, 5, 6), 9)]:
    golden("windowSum", window_sum(window), [uniform(shape)], {"window": window})

# --- losses


def lncc(window, epsilon):
    def local(x):
        if min(x.shape[2:]) >= window:
            return F.avg_pool3d(x, window, 1, window // 2, count_include_pad=False)
        return window_sum(window)(x) / window_sum(window)(torch.ones_like(x))  # avg_pool3d refuses a window wider than the volume

    def forward(a, b):
        ma, mb = local(a), local(b)
        va = (local(a * a) - ma * ma).clamp(min=0)
        vb = (local(b * b) - mb * mb).clamp(min=0)
        c = local(a * b) - ma * mb
        return (c * c / (va * vb + epsilon)).mean()
    return forward


for shape, window in [((1, 1, 5, 5, 7), 3), ((1, 1, 5, 7, 9), 5), ((1, 1, 9, 9, 9), 9), ((2, 1, 3, 4, 5), 5), ((1, 1, 1, 7, 9), 3)]:
    a = uniform(shape, 0, 1)
    b = (0.6 * a + uniform(shape, 0, 0.4)).float().double()
    golden("lncc", lncc(window, 1e-5), [a, b], {"window": window, "epsilon": 1e-5})


def ncc(epsilon):
    def forward(a, b):
        return ((a - a.mean()) * (b - b.mean())).mean() / torch.sqrt(a.var(unbiased=False) * b.var(unbiased=False) + epsilon)
    return forward


for shape, epsilon in [((1, 1, 3, 4, 5), 1e-5), ((2, 1, 5, 3, 7), 0.01)]:
    golden("ncc", ncc(epsilon), [uniform(shape, 0, 1), uniform(shape, 0, 1)], {"epsilon": epsilon})
    golden("mse", F.mse_loss, [uniform(shape), uniform(shape)])


def diffusion(weights):
    return lambda u: sum(k * (u.diff(dim=dim) ** 2).mean() for k, dim in zip(weights, SPATIAL) if u.shape[dim] > 1)


golden("diffusion", diffusion([1, 1, 1]), [uniform((2, 3, 3, 4, 5))])
golden("diffusion", diffusion([0.5, 2, 1.25]), [uniform((1, 3, 5, 3, 7))], {"weights": [0.5, 2, 1.25]})
golden("diffusion", diffusion([1, 1, 1]), [uniform((1, 3, 1, 4, 5))])

# --- derivatives


def gradient(x):
    parts = [torch.gradient(x, dim=dim)[0] if x.shape[dim] > 1 else 0 * x for dim in SPATIAL]
    return torch.stack(parts, 2).flatten(1, 2)


def jacobian_determinant(u):
    n, _, d, h, w = u.shape
    jacobian = gradient(u).reshape(n, 3, 3, d, h, w).permute(0, 3, 4, 5, 1, 2) + torch.eye(3, dtype=torch.float64)
    return torch.linalg.det(jacobian)[:, None]


for shape in [(2, 3, 3, 3, 4), (1, 3, 2, 5, 3), (1, 3, 1, 4, 5)]:
    golden("gradient", gradient, [uniform(shape)])
    golden("jacobianDeterminant", jacobian_determinant, [uniform(shape)])

# --- pointwise, channels, reductions

FULL, ONE = (2, 2, 2, 3, 4), (2, 1, 2, 3, 4)
for op, forward in [("add", torch.add), ("sub", torch.sub), ("mul", torch.mul), ("div", torch.div)]:
    for x, y in [(FULL, FULL), ((1,), FULL), (FULL, (1,)), (ONE, FULL), (FULL, ONE)]:
        golden(op, forward, [uniform(x), uniform(y, 0.25, 1)])
for op, forward, low in [("neg", torch.neg, -1), ("square", torch.square, -1), ("exp", torch.exp, -1), ("abs", torch.abs, -1),
                         ("sqrt", torch.sqrt, 0.25), ("log", torch.log, 0.25), ("reciprocal", torch.reciprocal, 0.25)]:
    golden(op, forward, [uniform(FULL, low, 1)])
golden("abs", torch.abs, [uniform((1, 1, 1, 3, 5)).clamp(min=0)])
golden("scale", lambda x: -1.5 * x + 0.25, [uniform(FULL)], {"factor": -1.5, "offset": 0.25})
golden("axpby", lambda x, y: 0.75 * x - 2 * y, [uniform(FULL), uniform(FULL)], {"a": 0.75, "b": -2})
golden("concat", lambda *xs: torch.cat(xs, 1), [uniform(FULL), uniform(ONE), uniform((2, 3, 2, 3, 4))])
golden("slice", lambda x: x[:, 1:4], [uniform((2, 5, 2, 3, 4))], {"start": 1, "count": 3})
golden("sum", torch.sum, [uniform(FULL)])
golden("mean", torch.mean, [uniform(FULL)])
golden("dot", lambda x, y: (x * y).sum(), [uniform(FULL), uniform(FULL)])
golden("sumChannels", lambda x: x.sum(1, keepdim=True), [uniform(FULL)])

# --- Adam: inputs p and the gradients of five steps; outputs p after each step, then both moments. One entry never has a gradient.

start = uniform((31,))
steps = [uniform((31,), -2, 2) * (torch.arange(31) > 0) for _ in range(5)]
hyper = {"lr": 0.1, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}
p = start.clone().requires_grad_(True)
optimizer = torch.optim.Adam([p], lr=hyper["lr"], betas=(hyper["beta1"], hyper["beta2"]), eps=hyper["epsilon"])
outputs = []
for g in steps:
    p.grad = g
    optimizer.step()
    outputs.append(p.detach().clone())
outputs += [optimizer.state[p]["exp_avg"], optimizer.state[p]["exp_avg_sq"]]
records.append({"op": "adamStep", "attrs": hyper, "inputs": [store(x) for x in [start, *steps]], "outputs": [store(x) for x in outputs],
                "cotangent": None, "grads": [None] * 6})

# --- activations, normalisation

golden("relu", F.relu, [uniform(FULL)])
golden("leakyRelu", lambda x: F.leaky_relu(x, 0.2), [uniform(FULL)], {"slope": 0.2})
golden("elu", F.elu, [uniform(FULL, -4, 4)])
golden("elu", lambda x: F.elu(x, 0.5), [uniform(FULL, -4, 4)], {"alpha": 0.5})
golden("tanh", torch.tanh, [uniform(FULL, -6, 6)])
golden("sigmoid", torch.sigmoid, [uniform(FULL, -9, 9)])
golden("instanceNorm", F.instance_norm, [uniform((2, 2, 3, 4, 5))])
golden("instanceNorm", lambda x, gamma, beta: F.instance_norm(x, weight=gamma, bias=beta, eps=1e-3),
       [uniform((2, 3, 3, 5, 7), 999, 1001), uniform((3,)), uniform((3,))], {"epsilon": 1e-3})
golden("weightNorm", lambda v, g: torch._weight_norm(v, g, 0), [uniform((4, 3, 3, 3, 3)), uniform((4, 1, 1, 1, 1))])

# --- AdamW: as Adam above, with a rate for each step

start = uniform((31,))
steps = [uniform((31,), -2, 2) for _ in range(5)]
hyper = {"rates": [0.02, 0.04, 0.1, 0.05, 0.025], "beta1": 0.9, "beta2": 0.99, "epsilon": 1e-6, "weightDecay": 0.3}
p = start.clone().requires_grad_(True)
optimizer = torch.optim.AdamW([p], betas=(hyper["beta1"], hyper["beta2"]), eps=hyper["epsilon"], weight_decay=hyper["weightDecay"])
outputs = []
for rate, g in zip(hyper["rates"], steps):
    p.grad, optimizer.param_groups[0]["lr"] = g, rate
    optimizer.step()
    outputs.append(p.detach().clone())
records.append({"op": "adamWStep", "attrs": hyper, "inputs": [store(x) for x in [start, *steps]], "outputs": [store(x) for x in outputs],
                "cotangent": None, "grads": [None] * 6})

# --- clipping by the global norm: inputs three gradients; outputs the same clipped, then their norm before

for reach, most in [(2, 1.5), (0.01, 1.5)]:
    gradients = [uniform(shape, -reach, reach) for shape in [(2, 3, 3, 3, 3), (1,), (300,)]]
    leaves = [torch.zeros_like(g).requires_grad_(True) for g in gradients]
    for leaf, g in zip(leaves, gradients):
        leaf.grad = g.clone()
    norm = torch.nn.utils.clip_grad_norm_(leaves, most)
    records.append({"op": "gradientClip", "attrs": {"most": most}, "inputs": [store(g) for g in gradients],
                    "outputs": [*[store(leaf.grad) for leaf in leaves], store(norm.reshape(1))], "cotangent": None, "grads": [None] * 3})

# --- convolution


def conv3d(stride=1, padding="zero", activation="none"):
    def forward(x, w, *bias):
        pad = w.shape[2] // 2
        if padding == "replicate":
            x, pad = F.pad(x, [pad] * 6, mode="replicate"), 0
        y = F.conv3d(x, w, *bias, stride=stride, padding=pad)
        return y if activation == "none" else F.leaky_relu(y, 0.2)
    return forward


for k, x_shape, outputs in [(1, (2, 3, 2, 3, 5), 3), (3, (2, 2, 3, 4, 3), 3), (5, (1, 1, 3, 5, 4), 2)]:
    for stride in (1, 2):
        for padding in ("zero", "replicate"):
            attrs = {"stride": stride, "padding": padding, "activation": "none" if padding == "zero" else "leakyRelu"}
            inputs = [uniform(x_shape), uniform((outputs, x_shape[1], k, k, k)), uniform((outputs,))]
            golden("conv3d", conv3d(**attrs), inputs[:3 if stride == 1 else 2], attrs)

# --- the force of LNCC: an image sampled with its gradient, and the force itself


def warp_with_gradient(matrix):
    def forward(image, u):
        x = image.movedim(-1, 1)
        m = torch.tensor(matrix, dtype=torch.float64).reshape(3, 4)[:, :3]
        last = torch.tensor([x.shape[k] - 1 for k in SPATIAL], dtype=torch.float64).reshape(1, 3, 1, 1, 1)
        q = positions(u, matrix)
        fade = (1 - torch.minimum(q, torch.zeros(1)).abs() - (q - last).clamp(min=0)).clamp(min=0)
        sampled = warp("bilinear", matrix)(x, u)
        return torch.cat([sampled[:, :1], torch.einsum("ij,nidhw->njdhw", m, fade * sampled[:, 1:])], 1)
    return forward


for image_shape, u_shape, reach, matrix in [((1, 3, 4, 5, 4), (1, 3, 3, 4, 5), 0.4, None), ((2, 3, 4, 3, 4), (2, 3, 3, 4, 3), 3.0, None),
                                            ((1, 4, 3, 4, 4), (1, 3, 3, 4, 5), 1.5, MATRIX), ((1, 1, 4, 5, 4), (1, 3, 1, 4, 5), 1.5, None)]:
    attrs = {"matrix": matrix} if matrix else {}
    matrix = matrix or IDENTITY
    golden("warpWithGradient", warp_with_gradient(matrix), [uniform(image_shape), displacement(u_shape, reach, matrix, 1)], attrs, 1)


def lncc_force(window, epsilon):
    def local(x):
        return window_sum(window)(x) / window_sum(window)(torch.ones_like(x))

    def forward(a, b, gradient, weight=torch.ones(1)):
        ma, mb = local(a), local(b)
        va, vb, c = local(a * a) - ma * ma, local(b * b) - mb * mb, local(a * b) - ma * mb
        return weight * 2 * c / (va * vb + epsilon) * (a - ma - c / (vb + 1e-8) * (b - mb)) * gradient
    return forward


for shape, window, masked in [((1, 1, 5, 5, 7), 3, False), ((2, 1, 3, 4, 5), [5, 3, 1], True), ((1, 1, 1, 7, 9), 5, False)]:
    a = uniform(shape, 0, 1)
    b = (0.6 * a + uniform(shape, 0, 0.4)).float().double()
    inputs = [a, b, uniform((shape[0], 3, *shape[2:])), *([uniform(shape, 0, 1)] if masked else [])]
    golden("lnccForce", lncc_force(window, 1e-4), inputs, {"window": window, "epsilon": 1e-4}, 1)

# --- label maps and their overlap, intensities

LABELS = [3, 1, 7]
labels = torch.from_numpy(rng.integers(0, 9, (2, 1, 2, 3, 4)).astype(np.float64))
golden("oneHot", lambda x: torch.cat([(x == value).double() for value in LABELS], 1), [labels], {"values": LABELS}, 1)


def soft_dice(epsilon):
    def forward(a, b):
        both, first, second = [(x * y).sum((2, 3, 4)) for x, y in ((a, b), (a, a), (b, b))]
        present = (first > epsilon).double()
        return ((1 - 2 * both / (first + second + epsilon)) * present).sum() / present.sum().clamp(min=1)
    return forward


for shape, epsilon, absent in [((2, 3, 2, 3, 4), 1e-5, False), ((1, 4, 3, 3, 2), 0.5, True)]:
    a, b = uniform(shape, 0, 1), uniform(shape, 0, 1)
    if absent:
        a[:, 1] = 0
    golden("softDice", soft_dice(epsilon), [a, b], {"epsilon": epsilon})

for gamma, noisy in [(0.75, False), (1.5, True)]:
    shape = (1, 1, 2, 3, 4)
    t = torch.tensor([gamma, 1.25, -0.125, 0.5], dtype=torch.float64)

    def transform(x, t, noise=0.0):
        return t[1] * x.sign() * x.abs() ** t[0] + t[2] + t[3] * noise
    inputs = [uniform(shape), t, *([uniform(shape)] if noisy else [])]
    golden("intensityTransform", transform, inputs, {}, len(inputs))

with open(os.path.join(HERE, "goldens.json"), "w") as file:
    file.write("[\n" + ",\n".join(json.dumps(r, separators=(",", ":")) for r in records) + "\n]\n")
with open(os.path.join(HERE, "goldens.bin"), "wb") as file:
    file.write(blob)
print(f"{len(records)} goldens, {len(blob)} bytes, torch {torch.__version__}")
