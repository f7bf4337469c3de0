"""A process that measures Python peers, with the protocol of child.mjs."""

import importlib
import json
import re
import sys
import time
from types import SimpleNamespace

import numpy as np
from ml_dtypes import bfloat16

LONGEST_WARM_UP = 1.0  # seconds
SETTLED = 0.03

opened = {}
prepared = {}


def open_peer(peer, module, options, threads):
    implementation = importlib.import_module(f"peers.{module}").Peer(threads=threads, **options)
    opened[peer] = implementation
    return {"version": implementation.version}


def prepare(peer, gradient, files, **data):
    arrays = read(files, **data)
    prepared[peer] = opened[peer].prepare(arrays, gradient), arrays
    return {}


def read(files, rows, classes, stride, shape=None, axis=-1, type="float32", labelsType="int32", options={}):
    """The data as arrays in their shapes, with ml_dtypes' bfloat16. `logits` is a view of `padded` without the padding."""

    def array(name, dtype, shape):
        return np.fromfile(files[name], dtype).reshape(shape) if name in files else None

    whole = shape or [rows, classes]
    padded = array("logits", bfloat16 if type == "bfloat16" else type, shape or [rows, stride])
    return SimpleNamespace(
        classes=classes,
        axis=axis,
        type=type,
        labels_type=labelsType,
        options=options,
        padded=padded,
        logits=padded if shape else padded[:, :classes],
        labels=array("labels", labelsType, np.delete(whole, axis)),
        targets=array("targets", "float32", whole),
        teacher=array("teacher", "float32", whole),
        class_weights=array("classWeights", "float32", [classes]),
        sample_weights=array("sampleWeights", "float32", [rows]),
    )


def results(peer, loss, gradient):
    """Makes one call, writes its results to files, the gradient without padding, and returns their types."""
    run, data = prepared[peer]
    types = []
    for output, file in zip(run(), [loss, gradient]):
        types.append(re.search(r"b?float\d+", str(output.dtype)).group())
        array = np.asarray(output.float() if hasattr(output, "float") else output, np.float32)
        if array.shape == data.padded.shape != data.logits.shape:
            array = np.ascontiguousarray(array[:, : data.classes])
        array.tofile(file)
    return {"types": types}


def warm_up(peer):
    begin = time.perf_counter()
    best, steady = float("inf"), 0
    while steady < 3 and time.perf_counter() - begin < LONGEST_WARM_UP:
        nanoseconds = measure(peer, 20)["nanoseconds"]
        steady = 0 if nanoseconds < best * (1 - SETTLED) else steady + 1
        best = min(best, nanoseconds)
    return {}


def measure(peer, milliseconds):
    run, _ = prepared[peer]
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
