"""What of pretraining helps? The controls of Erhan et al. (2009, 2010), and an ensemble of several fine-tunings.

    python examples/controls_of_pretraining.py

One autoencoder is pretrained a seed; every fine-tuning begins with what it left, or with a part of that: the weights
themselves, their distribution alone, or one layer. Supervised greedy pretraining (Bengio et al. 2007) sees labels only.
On these few small images all rows lie within the spread; the papers' differences are those of MNIST and many seeds.
"""

import warnings

import numpy as np
from sklearn.ensemble import VotingClassifier
from sklearn.frozen import FrozenEstimator

from layerwise import DenoisingAutoencoder, FineTuning, PretrainedClassifier, SeenRowsWarning, StackedAutoencoder
from layerwise.datasets import few_labels, load_digits

# The frozen layers have seen more rows than a member of the ensemble, as they should: none of those is a test row.
warnings.simplefilter("ignore", SeenRowsWarning)

X, y = load_digits()
test = np.arange(len(y)) % 3 == 0
starts = {
    "both layers pretrained": "pretrained",
    "the lower one": ["pretrained", "random"],
    "the upper one": ["random", "pretrained"],
    "weights from the pretrained ones' histogram": "histogram",
    "none": "random",
}
errors: dict[str, list[float]] = {}

for seed in range(3):
    known = few_labels(y[~test], 200, random_state=seed)  # -1 where the label is taken away
    labelled = known >= 0
    before = StackedAutoencoder(
        (200, 200), activation="sigmoid", pretraining=DenoisingAutoencoder(epochs=30), random_state=seed
    ).fit(X[~test])
    models = {
        name: PretrainedClassifier(
            pretraining=before, finetuning=FineTuning(epochs=60, start=start), random_state=seed
        ).fit(X[~test], known)
        for name, start in starts.items()
    }
    models["supervised greedy"] = PretrainedClassifier(
        (200, 200), activation="sigmoid", pretraining="supervised", finetuning=FineTuning(epochs=60), random_state=seed
    ).fit(X[~test], known)
    members = [
        (
            str(i),
            PretrainedClassifier(pretraining=FrozenEstimator(before), finetuning=FineTuning(epochs=60), random_state=i),
        )
        for i in range(5)
    ]  # one pretraining, five fine-tunings, which differ in their output layer's start and in the order of the rows
    models["ensemble of five"] = VotingClassifier(members, voting="soft").fit(X[~test][labelled], known[labelled])
    for name, model in models.items():
        errors.setdefault(name, []).append(100 * (1 - model.score(X[test], y[test])))

print("test error in %, 200 labels, mean ± standard deviation over 3 seeds")
for name, found in errors.items():
    print(f"{name:45} {np.mean(found):5.2f} ± {np.std(found, ddof=1):.2f}")
