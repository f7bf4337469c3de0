"""The PyTorch counterpart of linear-peers.mjs: F.linear and F.cross_entropy, eager or compiled."""

import json
import re
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F

name, threads, shape = sys.argv[1:4]
rows, features, classes = map(int, shape.split("x"))
torch.set_num_threads(int(threads))


def numbers(length, size):
    state, out = 1, np.empty(length, np.float32)
    block = 1 << 16
    # The generator of the other peers, vectorised over many steps.
    a, c = np.uint32(1664525), np.uint32(1013904223)
    powers, adds = np.empty(block, np.uint32), np.empty(block, np.uint32)
    p, q = 1, 0
    for i in range(block):
        p, q = (p * int(a)) & 0xFFFFFFFF, (q * int(a) + int(c)) & 0xFFFFFFFF
        powers[i], adds[i] = p, q
    for begin in range(0, length, block):
        states = powers * np.uint32(state) + adds
        part = out[begin : begin + block]
        part[:] = (size * (states.astype(np.float64) / 2**32 - 0.5))[: len(part)]
        state = int(states[-1])
    return torch.from_numpy(out)


h = numbers(rows * features, 2).reshape(rows, features).requires_grad_()
w = numbers(classes * features, 0.2).reshape(classes, features).requires_grad_()
labels = torch.from_numpy((np.arange(rows, dtype=np.int64) * 7919) % classes)


def loss(h, w):
    return F.cross_entropy(F.linear(h, w), labels)


if "compiled" in name:
    loss = torch.compile(loss, dynamic=False)


def forward():
    with torch.no_grad():
        return loss(h, w).item()


def both():
    value = loss(h, w)
    torch.autograd.grad(value, [h, w])
    return value.item()


def memory():
    status = open("/proc/self/status").read()
    now, most = (1024 * int(re.search(rf"^{field}:\s+(\d+)", status, re.M)[1]) for field in ("VmRSS", "VmHWM"))
    open("/proc/self/clear_refs", "w").write("5")
    return now, most


for line in sys.stdin:
    now, _ = memory()
    cpu, begin = time.process_time(), time.perf_counter()
    mean = {"forward": forward, "both": both}[line.strip()]()
    answer = dict(cpu=1000 * (time.process_time() - cpu), wall=1000 * (time.perf_counter() - begin), mean=mean)
    print(json.dumps(dict(answer, grown=memory()[1] - now)), flush=True)
