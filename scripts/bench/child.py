"""One process that measures, for Python's peers: the protocol of child.mjs."""

import importlib
import json
import sys
import time

import numpy as np

LONGEST_WARM_UP = 1.0  # seconds
SETTLED = 0.03

opened = {}
prepared = {}


def open_peer(peer, module, options, threads):
    implementation = importlib.import_module(f"peers.{module}").Peer(threads=threads, **options)
    opened[peer] = implementation
    return {"version": implementation.version}


def prepare(peer, rows, classes, gradient, logits, labels):
    x = np.fromfile(logits, np.float32).reshape(rows, classes)
    y = np.fromfile(labels, np.int32)
    prepared[peer] = opened[peer].prepare(x, y, gradient)
    return {}


def results(peer, loss, gradient):
    outputs = [np.asarray(output, np.float32) for output in prepared[peer]()]
    for output, file in zip(outputs, [loss, gradient]):
        output.tofile(file)
    return {}


def warm_up(peer):
    begin = time.perf_counter()
    best, steady = float("inf"), 0
    while steady < 3 and time.perf_counter() - begin < LONGEST_WARM_UP:
        nanoseconds = measure(peer, 20)["nanoseconds"]
        steady = 0 if nanoseconds < best * (1 - SETTLED) else steady + 1
        best = min(best, nanoseconds)
    return {}


def measure(peer, milliseconds):
    run = prepared[peer]
    calls, elapsed = 0, 0.0
    begin = time.perf_counter()
    while calls == 0 or elapsed * 1e3 < milliseconds:
        run()
        calls += 1
        elapsed = time.perf_counter() - begin
    return {"nanoseconds": elapsed * 1e9 / calls, "calls": calls}


def release(peer):
    prepared.pop(peer, None)
    return {}


operations = {
    "open": open_peer,
    "prepare": prepare,
    "results": results,
    "warmUp": warm_up,
    "measure": measure,
    "release": release,
}

for line in sys.stdin:
    request = json.loads(line)
    try:
        answer = operations[request.pop("operation")](**request)
    except Exception as error:
        answer = {"error": f"{type(error).__name__}: {error}"[:300]}
    print(json.dumps(answer), flush=True)
