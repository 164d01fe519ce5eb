"""Keras 3 on TensorFlow, in float32 as it comes: norms over ten steps, and a CNN's weights."""
import os

os.environ["KERAS_BACKEND"] = "tensorflow"

from exchange import path, peer, same, save

import keras
import numpy as np

L = keras.layers


def cnn():
    return keras.Sequential([
        keras.Input((12, 10, 2)),
        L.Conv2D(6, 3, padding="same", name="conv1"), L.BatchNormalization(name="norm1"), L.ReLU(), L.MaxPooling2D(),
        L.Conv2D(8, (3, 2), name="conv2"), L.ReLU(), L.Flatten(),
        L.Dense(16, name="fc1"), L.LayerNormalization(name="norm2"), L.ReLU(), L.Dense(5, name="fc2")])


def check():
    keras.utils.set_random_seed(2)
    rng = np.random.default_rng(2)
    x = rng.normal(0.5, 2, (10, 32, 24)).astype(np.float32)
    bn, ln = L.BatchNormalization(), L.LayerNormalization()
    outputs, means, variances = [], [], []
    for batch in x:
        outputs.append(bn(batch, training=True))
        means.append(np.array(bn.moving_mean))
        variances.append(np.array(bn.moving_variance))
    outputs.append(bn(x[-1], training=False))
    peer("keras-norms", save(x, "x.npy"), path("norms.npz"))
    got = np.load(path("norms.npz"))
    same("Keras BatchNormalization: outputs of ten steps and inference", got["bn"], np.stack(outputs), 5e-6)
    same("Keras BatchNormalization: moving means", got["mean"], np.stack(means), 5e-6)
    same("Keras BatchNormalization: moving variances", got["var"], np.stack(variances), 5e-6)
    same("Keras LayerNormalization: outputs", got["ln"].reshape(320, 24), np.array(ln(x)).reshape(320, 24), 5e-6)

    model = cnn()
    images = rng.normal(0.5, 2, (256, 12, 10, 2)).astype(np.float32)
    model.compile(optimizer=keras.optimizers.Adam(1e-2), loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(images, rng.integers(0, 5, 256), batch_size=32, epochs=5, verbose=0)
    np.savez(path("cnn.npz"), **{f"{layer.name}/{w.name}": w.numpy() for layer in model.layers for w in layer.weights})
    peer("keras-cnn", path("cnn.npz"), save(images, "x.npy"), path("logits.npy"))
    same("Keras CNN (.npz): logits", np.load(path("logits.npy")), model.predict(images, verbose=0), 1e-5)
