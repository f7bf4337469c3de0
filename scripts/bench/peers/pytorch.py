"""PyTorch: F.cross_entropy, eager or through torch.compile; the gradient by autograd.

Logits, labels and weights are resident tensors, results new ones. 16-bit logits are converted to float32 first: for a few
classes, this is three times faster than F.cross_entropy in 16 bits, and the loss is not rounded to 16 bits. Labels always
have 64 bits, because PyTorch takes no others.
"""

import numpy as np
import torch
import torch.nn.functional as F


class Peer:
    version = torch.__version__

    def __init__(self, threads, compile):
        torch.set_num_threads(threads)
        self.compile = compile

    def prepare(self, data, gradient):
        logits = _tensor(data.logits, data.type).requires_grad_(gradient)
        losses = self._compiled(_losses(data, self.compile))

        def forward():
            with torch.no_grad():
                return [losses(logits)]

        def loss_and_gradient():
            loss = losses(logits)
            (g,) = torch.autograd.grad(loss, logits, ones)
            return [loss.detach(), g]

        ones = torch.ones(data.labels.shape, dtype=torch.float64 if data.type == "float64" else torch.float32)
        return loss_and_gradient if gradient else forward

    def _compiled(self, function):
        if not self.compile:
            return function
        # Compile for each shape: otherwise, after the first shape, code for all sizes, or no compiled code, would run.
        torch._dynamo.reset()
        return torch.compile(function, dynamic=False)


def _losses(data, compiled):
    labels = torch.from_numpy(data.labels).long()
    target = labels if data.targets is None else torch.from_numpy(data.targets)
    teacher = None if data.teacher is None else torch.from_numpy(data.teacher)
    class_weights = None if data.class_weights is None else torch.from_numpy(data.class_weights)
    sample_weights = None if data.sample_weights is None else torch.from_numpy(data.sample_weights)
    softcap, temperature, z = data.options.get("softcap"), data.options.get("temperature"), data.options.get("zLoss")
    narrow = data.type in ("float16", "bfloat16")
    named = dict(
        reduction="none",
        weight=class_weights,
        label_smoothing=data.options.get("labelSmoothing", 0.0),
        ignore_index=data.options.get("ignoreIndex", -100),
    )

    def losses(x):
        if narrow:
            x = x.float()
        if softcap is not None:
            x = softcap * torch.tanh(x / softcap)
        if temperature is not None:
            x = x / temperature
        if teacher is not None:
            logs = F.log_softmax(x, 1), F.log_softmax(teacher, 1)
            loss = F.kl_div(*logs, reduction="none", log_target=True).sum(1)
        elif z is None:
            loss = F.cross_entropy(x, target, **named)
        else:
            loss = with_z_loss(x)
        return loss if sample_weights is None else loss * sample_weights

    # Three forms were tried; these are the fastest for eager and compiled mode.
    def with_z_loss(x):
        own = x.gather(1, labels[:, None])[:, 0]
        if compiled:
            log_sum_exp = torch.logsumexp(x, 1)
            loss = log_sum_exp - own
        else:
            loss = F.cross_entropy(x, labels, reduction="none")
            log_sum_exp = loss + own
        return loss + z * log_sum_exp * log_sum_exp

    return losses


def _tensor(array, type):
    if type == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)
