"""A deep autoencoder beside principal components, as in Hinton & Salakhutdinov 2006, on scikit-learn's digits.

    python examples/deep_autoencoder.py

Both describe an image of 64 pixels by 6 numbers and rebuild it. The error is that paper's: the squared error summed
over the pixels of an image, averaged over test images.
"""

import numpy as np
from sklearn.decomposition import PCA

from layerwise import Autoencoder, FineTuning, StackedAutoencoder
from layerwise.datasets import load_digits

X, _ = load_digits()
test = np.arange(len(X)) % 3 == 0


def error(rebuilt: np.ndarray) -> float:
    """Return the mean over test images of the summed squared error."""
    return float(((rebuilt - X[test]) ** 2).sum(axis=1).mean())


components = PCA(6).fit(X[~test])
print(f"mean image              {error(np.broadcast_to(X[~test].mean(axis=0), X[test].shape)):6.3f}")
print(f"6 principal components  {error(components.inverse_transform(components.transform(X[test]))):6.3f}")

model = StackedAutoencoder((200, 100, 6), activation=["sigmoid", "sigmoid", "identity"], random_state=0)
model.set_params(pretraining=Autoencoder(epochs=50)).fit(X[~test])
print(f"pretrained layers       {error(model.reconstruct(X[test])):6.3f}")

model.set_params(finetuning=FineTuning(epochs=200)).fit(X[~test])
print(f"fine-tuned as a whole   {error(model.reconstruct(X[test])):6.3f}")
