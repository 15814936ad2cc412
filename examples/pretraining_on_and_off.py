"""Does pretraining help here? The same network with and without it, over several seeds and numbers of labels.

    python examples/pretraining_on_and_off.py

`pretraining=None` is the plain network, so the comparison is one argument. On these few small images the difference is
within the spread, which is worth knowing before one spends more on it; benchmarks/mnist_few_labels.py has a case where
it is not.
"""

import numpy as np

from layerwise import DenoisingAutoencoder, FineTuning, Masking, PretrainedClassifier
from layerwise.datasets import few_labels, load_digits

X, y = load_digits()
test = np.arange(len(y)) % 3 == 0
kinds = {"with": DenoisingAutoencoder(corruption=Masking(0.25), epochs=30), "without": None}

print("test error in %, mean ± standard deviation over 3 seeds")
for n_labels in (30, 100, 300):
    errors: dict[str, list[float]] = {kind: [] for kind in kinds}
    for seed in range(3):
        known = few_labels(y[~test], n_labels, random_state=seed)  # -1 where the label is taken away
        for kind, pretraining in kinds.items():
            model = PretrainedClassifier(
                hidden_layer_sizes=(200, 200),
                activation="sigmoid",
                pretraining=pretraining,
                finetuning=FineTuning(epochs=100),
                random_state=seed,
            ).fit(X[~test], known)
            errors[kind].append(100 * (1 - model.score(X[test], y[test])))
    told = ", ".join(f"{kind} {np.mean(e):5.2f} ± {np.std(e, ddof=1):.2f}" for kind, e in errors.items())
    print(f"{n_labels:4} labels: {told}")
