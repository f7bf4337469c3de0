"""TensorFlow: the operator that computes loss and gradient together, eager; or tf.function with XLA.

XLA: forward is tf.nn.sparse_softmax_cross_entropy_with_logits; tf.GradientTape in the same function gives the gradient. The
eager operator always computes the gradient, so forward is the same call. Logits and labels are resident tensors, results new
ones. On the CPU, a call returns when they are complete (reading them after it was found to take no time).
"""

import tensorflow as tf


class Peer:
    version = tf.__version__

    def __init__(self, threads, jit):
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
        self.jit = jit

    def prepare(self, data, gradient):
        logits, labels = tf.constant(data.logits), tf.constant(data.labels)
        if not self.jit:
            return lambda: tf.raw_ops.SparseSoftmaxCrossEntropyWithLogits(features=logits, labels=labels)
        call = tf.function(_loss_and_gradient if gradient else _loss, jit_compile=True, autograph=False)
        return lambda: call(logits, labels)


def _loss(logits, labels):
    return [tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)]


def _loss_and_gradient(logits, labels):
    with tf.GradientTape() as tape:
        tape.watch(logits)
        (loss,) = _loss(logits, labels)
    return [loss, tape.gradient(loss, logits)]
