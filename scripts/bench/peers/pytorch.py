"""PyTorch: F.cross_entropy, eager or through torch.compile; the gradient by autograd.

Logits and labels are resident tensors, the results new ones.
"""

import torch
import torch.nn.functional as F


class Peer:
    version = torch.__version__

    def __init__(self, threads, compile):
        torch.set_num_threads(threads)
        self.compile = compile

    def prepare(self, x, y, gradient):
        logits = torch.from_numpy(x).requires_grad_(gradient)
        labels = torch.from_numpy(y).long()
        loss_of = self._compiled(F.cross_entropy)

        def forward():
            with torch.no_grad():
                return [loss_of(logits, labels, reduction="none")]

        def loss_and_gradient():
            loss = loss_of(logits, labels, reduction="none")
            (g,) = torch.autograd.grad(loss, logits, ones)
            return [loss.detach(), g]

        ones = torch.ones(len(y))
        return loss_and_gradient if gradient else forward

    def _compiled(self, function):
        if not self.compile:
            return function
        # Each shape of its own: after the first one, compiled code would otherwise serve all sizes, or none.
        torch._dynamo.reset()
        return torch.compile(function, dynamic=False)
