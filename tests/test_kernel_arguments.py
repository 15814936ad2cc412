"""What the public kernels refuse, and that the message names the argument."""

import numpy as np
import pytest

from layerwise import kernels

A, V = np.ones((2, 3)), np.ones(3)
READ_ONLY = np.ones(3)
READ_ONLY.flags.writeable = False

WRONG = {
    "matmul": [
        (lambda f: f(A.astype(int), A), TypeError, "a must be a float32 or float64 array. Got dtype int64"),
        (lambda f: f(A, A.astype("f4")), TypeError, "b must have the dtype of a, float64. Got float32"),
        (lambda f: f(A.astype(complex), A), ValueError, "Complex data not supported. Got a"),
        (lambda f: f(A.astype(">f8"), A), TypeError, ">f8"),
        (lambda f: f(np.ma.ones((2, 3)), A), TypeError, "masked"),
        (lambda f: f(V, A), ValueError, r"a must have shape \(m, k\). Got \(3,\)"),
        (lambda f: f(A, A), ValueError, "inner sizes of a and b must be equal. Got 3 and 2"),
        (lambda f: f(A, A, transpose_a=1), ValueError, "transpose_a"),
        (lambda f: f(A, A, transpose_a=True, n_jobs=0), ValueError, "n_jobs"),
    ],
    "dense_forward": [
        (lambda f: f(A, A, V), ValueError, r"W must have shape \(3, n_out\). Got \(2, 3\)"),
        (lambda f: f(A, A.T, V), ValueError, r"b must have shape \(2,\). Got \(3,\)"),
        (lambda f: f(A, A.T, V[:2], "logistic"), ValueError, "activation"),
    ],
    "dense_backward": [
        (lambda f: f(A, A.T, A, A), ValueError, r"z must have shape \(2, 2\)"),
        (lambda f: f(A, A.T, A[:, :2], A), ValueError, r"G must have shape \(2, 2\)"),
    ],
    "activation": [
        (lambda f: f(A, "step"), ValueError, "name"),
        (lambda f: f(A[None], "tanh"), ValueError, "z must have shape"),
        (lambda f: f(A[:, :0], "softmax"), ValueError, "z must have shape"),
        (lambda f: f(A, "prelu", parameter=[1.0, 2.0]), ValueError, r"one number or have shape \(3,\)"),
        (lambda f: f(A, "prelu", parameter=np.nan), ValueError, "parameter must be finite"),
        (lambda f: f(A, "prelu", parameter="a"), TypeError, "parameter must be a number"),
        (lambda f: f(A, "elu", parameter=-1.0), ValueError, "parameter of elu must be positive"),
        (lambda f: f(A, "leaky_relu", parameter=-1.0), ValueError, "parameter of leaky_relu must be 0 or more"),
    ],
    "activation_backward": [(lambda f: f(A, V, "tanh"), ValueError, r"g must have shape \(2, 3\)")],
    "softmax": [(lambda f: f(A[None]), ValueError, "z must have shape")],
    "loss": [
        (lambda f: f(A, V, "squared_error"), ValueError, r"t must have shape \(2, 3\)"),
        (lambda f: f(A, A, "mse"), ValueError, "name"),
        (lambda f: f(A, A, "mixed"), ValueError, "'groups' parameter of loss must be a non-empty sequence"),
        (lambda f: f(A, A, "mixed", groups=[("flag", 2)]), ValueError, "groups of 3 columns in all"),
        (lambda f: f(A, A, "mixed", groups=[("word", 3)]), ValueError, "kind one of"),
        (lambda f: f(A, A, "squared_error", groups=[("number", 3)]), ValueError, 'empty unless name="mixed"'),
    ],
    "sgd_step": [
        (lambda f: f(V, V.copy(), learning_rate=-1), ValueError, "learning_rate"),
        (lambda f: f(V, V.copy(), learning_rate=np.inf), ValueError, "learning_rate"),
        (lambda f: f(V, V[:2].copy(), learning_rate=1), ValueError, r"g must have shape \(3,\)"),
        (lambda f: f(V, V[:], learning_rate=1), ValueError, "overlap"),
        (lambda f: f(V, V, learning_rate=1), ValueError, "overlap"),
        (lambda f: f(READ_ONLY, V.copy(), learning_rate=1), ValueError, "w must be a C-contiguous, writeable"),
        (lambda f: f(A.T, A.T.copy(), learning_rate=1), ValueError, "w must be a C-contiguous"),
        (lambda f: f([1.0], V, learning_rate=1), ValueError, "w must be"),
    ],
    "momentum_step": [(lambda f: f(V, V.copy(), V.copy(), learning_rate=1, momentum=1.0), ValueError, "momentum")],
    "nesterov_step": [(lambda f: f(V, V.copy(), V.copy(), learning_rate=1, momentum=-0.1), ValueError, "momentum")],
    "adagrad_step": [(lambda f: f(V, V.copy(), V.copy(), learning_rate=1, epsilon=0), ValueError, "epsilon")],
    "rmsprop_step": [(lambda f: f(V, V.copy(), V.copy(), learning_rate=1, decay=2), ValueError, "decay")],
    "adam_step": [
        (lambda f: f(V, *zeros(), V.copy(), learning_rate=1, step=0), ValueError, "step"),
        (lambda f: f(V, *zeros(), V.copy(), learning_rate=1, step=1, beta_2=-0.1), ValueError, "beta_2"),
        (lambda f: f(V, *zeros(), V.copy(), learning_rate=1, step=1, alpha=-1), ValueError, "alpha"),
        (lambda f: f(V, *zeros(), V.copy(), learning_rate=1, step=1, bias_correction=2), ValueError, "bias_correction"),
    ],
    "adamw_step": [
        (lambda f: f(V, *zeros(), V.copy(), learning_rate=1, step=1, weight_decay=None), ValueError, "weight_decay"),
    ],
}


def zeros():
    return np.zeros(3), np.zeros(3)


@pytest.mark.parametrize("name", kernels.__all__)
def test_wrong_arguments_are_refused_by_name(name):
    for call, error, message in WRONG[name]:
        with pytest.raises(error, match=message):
            call(getattr(kernels, name))
        assert V.tolist() == [1, 1, 1]
