#!/usr/bin/env python3
"""What PyTorch's conv3d (cuDNN on a GPU) takes for one shape: forward, input gradient, weight gradient; f32, with and without TF32.

  python3 torch_conv3d.py --size W,H,D --channels in,out --kernel K [--device cuda] [--seconds S]
Prints one JSON list of {pass, tf32, ms}: the best of the repetitions, by CUDA events, or by the clock on a CPU.
"""
import argparse
import json
import time

import torch

parser = argparse.ArgumentParser()
parser.add_argument("--size", default="80,96,112")
parser.add_argument("--channels", default="16,16")
parser.add_argument("--kernel", type=int, default=3)
parser.add_argument("--device", default="cuda")
parser.add_argument("--seconds", type=float, default=0.3)
args = parser.parse_args()

cuda = args.device.startswith("cuda")
w, h, d = map(int, args.size.split(","))
inputs, outputs = map(int, args.channels.split(","))
k, pad = args.kernel, args.kernel // 2
torch.manual_seed(1)
x = torch.randn(1, inputs, d, h, w, device=args.device)
weight = torch.randn(outputs, inputs, k, k, k, device=args.device)
dy = torch.randn(1, outputs, d, h, w, device=args.device)


def gradient(wanted):
    return torch.ops.aten.convolution_backward(dy, x, weight, None, [1] * 3, [pad] * 3, [1] * 3, False, [0] * 3, 1, wanted)


passes = {
    "forward": lambda: torch.nn.functional.conv3d(x, weight, padding=pad),
    "dx": lambda: gradient([True, False, False]),
    "dw": lambda: gradient([False, True, False]),
}


def once(run):
    if not cuda:
        started = time.perf_counter()
        run()
        return 1e3 * (time.perf_counter() - started)
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    begin.record()
    run()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end)


rows = []
torch.backends.cudnn.benchmark = True  # its fastest algorithm for the shape
for tf32 in [False, True] if cuda else [False]:
    torch.backends.cudnn.allow_tf32 = tf32
    for name, run in passes.items():
        for _ in range(3):
            once(run)
        best, count, started = float("inf"), 0, time.perf_counter()
        while count < 3 or time.perf_counter() - started < args.seconds:
            best = min(best, once(run))
            count += 1
        rows.append({"pass": name, "tf32": tf32, "ms": best})
print(json.dumps(rows))
