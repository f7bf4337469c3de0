"""JAX: optax.softmax_cross_entropy_with_integer_labels under jit; the gradient by value_and_grad in the same jit.

Smoothing, soft targets and the z-loss: logsumexp minus the dot product of targets and logits, which is up to three times
faster than optax.softmax_cross_entropy of smoothed labels. 16-bit logits are converted to float32 first, because the sum of
exponentials would be rounded to 16 bits. The jit cuts padded rows to their classes.

Logits, labels and weights are resident arrays. Each call waits for its results, which are new arrays.
"""

import jax
import jax.numpy as jnp
import optax


class Peer:
    version = f"jax {jax.__version__}, optax {optax.__version__}"

    def __init__(self, threads):
        del threads  # XLA_FLAGS and the process's cores set them

    def prepare(self, data, gradient):
        jax.config.update("jax_enable_x64", data.type == "float64" or data.labels_type == "int64")
        arrays = [data.padded, data.labels, data.targets, data.teacher, data.class_weights, data.sample_weights]
        resident = [None if array is None else jnp.asarray(array) for array in arrays]
        losses = _losses(data.classes, data.axis, data.options)

        def only_loss(*arrays):
            return [losses(*arrays)]

        def with_sum(*arrays):
            loss = losses(*arrays)
            return loss.sum(), loss

        def loss_and_gradient(*arrays):
            (_, loss), gradient = jax.value_and_grad(with_sum, has_aux=True)(*arrays)
            return [loss, gradient]

        call = jax.jit(loss_and_gradient if gradient else only_loss)
        return lambda: jax.block_until_ready(call(*resident))


def _losses(classes, axis, options):
    smoothing = options.get("labelSmoothing", 0.0)
    softcap, temperature, z = options.get("softcap"), options.get("temperature"), options.get("zLoss")
    ignored = options.get("ignoreIndex")

    def losses(x, labels, targets, teacher, class_weights, sample_weights):
        if x.shape[axis] != classes:
            x = x[:, :classes]
        if x.dtype in (jnp.float16, jnp.bfloat16):
            x = x.astype(jnp.float32)
        if softcap is not None:
            x = softcap * jnp.tanh(x / softcap)
        if temperature is not None:
            x = x / temperature
        if teacher is not None:
            of_teacher, of_x = jax.nn.log_softmax(teacher, axis), jax.nn.log_softmax(x, axis)
            loss = (jnp.exp(of_teacher) * (of_teacher - of_x)).sum(axis)
        elif targets is not None:
            loss = targets.sum(axis) * jax.nn.logsumexp(x, axis) - (targets * x).sum(axis)
        elif smoothing > 0 or z is not None:
            loss = dense(x, labels, class_weights)
        else:
            counted = labels if ignored is None else jnp.where(labels == ignored, 0, labels)
            loss = optax.softmax_cross_entropy_with_integer_labels(x, counted, axis=axis)
            if ignored is not None:
                loss = jnp.where(labels == ignored, 0, loss)
            if class_weights is not None:
                loss = loss * class_weights[labels]
        return loss if sample_weights is None else loss * sample_weights

    def dense(x, labels, class_weights):
        log_sum_exp = jax.nn.logsumexp(x, axis)
        own = jnp.take_along_axis(x, jnp.expand_dims(labels, axis), axis).squeeze(axis)
        weights = jnp.ones(classes, x.dtype) if class_weights is None else class_weights
        a, b = (1 - smoothing) * weights[labels], smoothing / classes
        loss = (a + b * weights.sum()) * log_sum_exp - a * own - b * (x * weights).sum(axis)
        return loss if z is None else loss + z * log_sum_exp * log_sum_exp

    return losses
