"""OpenL3's audio network for mel256, built from Keras layers.

Source: Cramer, Wu, Salamon and Bello, "Look, Listen and Learn More" (ICASSP 2019).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from biasmir_utils.embeddings.openl3_frontend import N_MELS, N_SPECTRA
from biasmir_utils.embeddings.openl3_weights import FILTERS, Arrays
from biasmir_utils.embeddings.tensorflow_quiet import import_tensorflow
from biasmir_utils.errors import ModelError

POOLING = (32, 24)
"""Of the last map, which is as large: one value for each of the 512 filters."""
EPSILON = 1e-3
"""What Keras 2 adds to the variance in a batch normalisation."""


def build_network(layers: list[Arrays]) -> Any:
    """Return a function from spectra of shape (windows, 256, 199, 1) to (windows, 512).

    Eight convolutions of 3 x 3 in pairs, with 2 x 2 max pooling after each pair but the last.
    A batch normalisation that follows a convolution is folded into it, which saves a sixth of
    the time. That of the input is not: it would shift the zeros that pad the edges.

    Parameters
    ----------
    layers : list of lists of ndarray
        As `openl3_weights.read_weights` gives them.

    Raises
    ------
    ModelError
        If TensorFlow is missing, or Keras runs on something else.
    """
    tf = import_tensorflow("openl3")
    keras = tf.keras
    if keras.backend.backend() != "tensorflow":
        raise ModelError(
            f"openl3: Keras runs on {keras.backend.backend()} here, expected tensorflow; "
            f"unset KERAS_BACKEND, or set it to tensorflow, before Python starts"
        )
    spectra = keras.Input((N_MELS, N_SPECTRA, 1))
    steps = [keras.layers.BatchNormalization(epsilon=EPSILON)]
    values = [layers[0]]
    convolutions, normalisations = layers[1::2], layers[2::2]
    for number, filters in enumerate(FILTERS):
        last = number == len(FILTERS) - 1
        activation = None if last else "relu"
        steps.append(keras.layers.Conv2D(filters, 3, padding="same", activation=activation))
        kernel, bias = convolutions[number]
        values.append([kernel, bias] if last else _folded(kernel, bias, normalisations[number]))
        if number % 2 and not last:
            steps.append(keras.layers.MaxPooling2D(2))
    steps += [keras.layers.MaxPooling2D(POOLING, padding="same"), keras.layers.Flatten()]
    output = spectra
    for step in steps:
        output = step(output)
    model = keras.Model(spectra, output)
    for step, arrays in zip((s for s in steps if s.weights), values, strict=True):
        step.set_weights(arrays)
    # A signature with an open number of windows: traced once, whatever the sizes of batches.
    signature = [tf.TensorSpec((None, N_MELS, N_SPECTRA, 1), tf.float32)]
    return tf.function(lambda batch: model(batch, training=False), input_signature=signature)


def _folded(kernel: NDArray[Any], bias: NDArray[Any], normalisation: Arrays) -> Arrays:
    """Return kernel and bias of a convolution that includes the normalisation after it."""
    scale, offset, mean, variance = (array.astype(np.float64) for array in normalisation)
    factor = scale / np.sqrt(variance + EPSILON)
    folded = kernel * factor, (bias - mean) * factor + offset
    return [array.astype(np.float32) for array in folded]
