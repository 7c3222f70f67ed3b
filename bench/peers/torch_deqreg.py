#!/usr/bin/env python3
"""A training step of the deqreg cell in PyTorch: the same function, loss, weights and optimiser as `deqreg train-step`, for comparison.

  python3 bench/peers/torch_deqreg.py --data FILE --check                            how far f(u), the loss and its gradients lie from the file's
  python3 bench/peers/torch_deqreg.py --data FILE --adjoint jfb|unrolled --steps T   one step, its peak memory and time
          [--in-place] [--device cpu|cuda] [--similarity detached|exact] [--threads N]
Each prints one line of JSON. FILE is a .safetensors of float32: `fixed` and `moving` [1, 1, D, H, W], the cell's weights as `weight.<name>`;
for --check also `u`, and what is expected: `f` = f(u), `loss` of it, and `gradient.<name>`, that loss's gradients for the weights.

The cell is test/golden/cells.py, the only definition of it in PyTorch: ops of torch, the similarity's force under no_grad where its
derivative is left out, what does not depend on u computed once; with --in-place its activations work in place. `unrolled`: T steps, back-propagation through time by
autograd. `jfb`: T evaluations of Anderson's iteration under no_grad, then one more with gradients. Runs on torch 1.13 and 2.

Peak memory: on a GPU torch.cuda.max_memory_allocated; on a CPU the process's largest resident memory, less what it had after a step on a tiny
volume (the libraries). glibc is told to give freed memory back at once, so that what is free does not count.
"""
import argparse
import copy
import ctypes
import json
import os
import resource
import struct
import sys
import time

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # threads that spin at barriers cost a busy machine several times the seconds

import numpy as np  # noqa: E402
import torch  # noqa: E402

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../test/golden"))
import cells  # noqa: E402

LIBRARY = ctypes.CDLL(None)
M_MMAP_THRESHOLD, ANDERSON_WINDOW, RIDGE = -3, 5, 1e-3
RATE, CLIP, AVERAGING = 3e-3, 1.0, 0.99


def load(path):
    """The tensors of a .safetensors file of float32."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        data = file.read()
    header.pop("__metadata__", None)
    return {
        name: torch.from_numpy(np.frombuffer(data[slice(*entry["data_offsets"])], "<f4").reshape(entry["shape"]).copy())
        for name, entry in header.items()
    }


def anderson(f, z, steps):
    """Walker & Ni 2011, over a ring of past values and residuals; the f(z) of the smallest residual."""
    values, residuals = z.new_empty(ANDERSON_WINDOW, z.numel()), z.new_empty(ANDERSON_WINDOW, z.numel())
    best, least = z, float("inf")
    for k in range(steps):
        value = f(z)
        slot, n = k % ANDERSON_WINDOW, min(k + 1, ANDERSON_WINDOW)
        values[slot] = value.flatten()
        torch.sub(values[slot], z.flatten(), out=residuals[slot])
        gram = residuals[:n] @ residuals[:n].T
        if gram[slot, slot] < least:
            best, least = value, float(gram[slot, slot])
        a = torch.linalg.solve(gram + RIDGE * torch.diag(gram.diagonal()), gram.new_ones(n))
        z = ((a / a.sum()) @ values[:n]).reshape(z.shape)
    return best


def loss_of(level, u):
    return cells.diffusion(u, level.ratios) - cells.lncc(level, cells.sample(level.sampled, cells.positions(u, level.matrix)))


def step(cell, level, adjoint, steps, similarity):
    """Forward, backward, Adam and the moving average of the weights; returns the loss."""
    optimiser = torch.optim.Adam(cell.parameters(), RATE)
    averages = [p.detach().clone() for p in cell.parameters()]
    u = torch.zeros(1, 3, *level.fixed.shape[2:], device=level.fixed.device)
    if adjoint == "unrolled":
        for _ in range(steps):
            u = cell(u, level, similarity)
    else:
        with torch.no_grad():
            u = anderson(lambda z: cell(z, level, similarity), u, steps)
        u = cell(u, level, similarity)
    loss = loss_of(level, u)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(cell.parameters(), CLIP)
    optimiser.step()
    with torch.no_grad():
        for average, p in zip(averages, cell.parameters()):
            average.lerp_(p, 1 - AVERAGING)
    return float(loss)


def check(cell, data, similarity, dtype):
    data = {name: t.to(dtype) for name, t in data.items()}
    cell, level = cell.to(dtype), cells.Level(data["fixed"], data["moving"])
    cell.zero_grad()
    y = cell(data["u"], level, similarity)
    loss = loss_of(level, y)
    loss.backward()
    far = lambda a, b: float((a - b).norm() / b.norm())  # noqa: E731
    return {
        "fMaxDifference": float((y - data["f"]).abs().max()),
        "fMax": float(y.abs().max()),
        "fRelative": float((y - data["f"]).norm() / (y - data["u"]).norm()),
        "lossDifference": float((loss - data["loss"]).abs()),
        "loss": float(loss),
        "gradientRelative": max(far(data[f"gradient.{name}"], p.grad) for name, p in cell.named_parameters()),
    }


def measure(cell, level, options):
    gpu = options.device == "cuda"
    resident = lambda: 1024 * int(next(s for s in open("/proc/self/status") if s.startswith("VmRSS")).split()[1])  # noqa: E731
    tiny = cells.Level(*(torch.rand(1, 1, 16, 16, 16, device=options.device) for _ in range(2)))
    step(copy.deepcopy(cell), tiny, options.adjoint, 2, options.similarity)
    if gpu:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    baseline = 0 if gpu else resident()
    started = time.perf_counter()
    loss = step(cell, level, options.adjoint, options.steps, options.similarity)
    if gpu:
        torch.cuda.synchronize()
    seconds = time.perf_counter() - started
    peak = torch.cuda.max_memory_allocated() if gpu else 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - baseline
    return {"peakBytes": peak, "baselineBytes": baseline, "seconds": seconds, "loss": loss}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--adjoint", choices=["jfb", "unrolled"], default="unrolled")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--in-place", action="store_true")
    parser.add_argument("--similarity", choices=["detached", "exact"], default="detached")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=0, help="of the CPU; 0 is PyTorch's own choice")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.device == "cpu" and hasattr(LIBRARY, "mallopt"):
        LIBRARY.mallopt(M_MMAP_THRESHOLD, 2 ** 17)  # fixed, else it grows with what is freed
    cells.IN_PLACE = options.in_place
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    data = {name: t.to(options.device) for name, t in load(options.data).items()}
    weights = {name[len("weight."):]: t for name, t in data.items() if name.startswith("weight.")}
    cell = cells.DeqReg(weights["enter.bias"].numel()).to(options.device)
    cell.load_state_dict(weights)
    device = torch.cuda.get_device_name() if options.device == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    if options.check:
        done = {str(dtype)[6:]: check(cell, data, options.similarity, dtype) for dtype in (torch.float32, torch.float64)}
    else:
        done = measure(cell, cells.Level(data["fixed"], data["moving"]), options)
    print(json.dumps({"torch": torch.__version__, "device": device, **done}))


if __name__ == "__main__":
    main()
