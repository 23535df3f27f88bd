"""Train a network on handwritten digits on several ranks, to the bits of one process.

pip install ".[demo,mpi]"
mpiexec -n 4 python -m mpi4py examples/distributed_digits.py
python examples/distributed_digits.py    # one process prints the same hash

A step is defined over eight micro-batches, which are dealt to the ranks; their gradients are added up in
one tree, whatever the number of ranks, and each rank keeps a part of Adam's state.
"""

import argparse
import hashlib

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from threadpoolctl import threadpool_limits

import gnumba as gn

try:
    from mpi4py import MPI
except (ImportError, RuntimeError):  # the latter where mpi4py finds no MPI
    COMM = "self"
else:
    COMM = MPI.COMM_WORLD

MICRO_BATCHES, ROWS = 8, 8  # of a step, and rows of each


def load_data():
    """1,797 scans of 8 x 8 pixels, a quarter kept for the test; standardised by the training images."""
    images, labels = load_digits(return_X_y=True)
    x, test_x, labels, test_labels = train_test_split(
        images, labels, test_size=0.25, stratify=labels, random_state=0
    )
    mean, std = x.mean(axis=0), x.std()
    return (
        ((x - mean) / std).astype(np.float32),
        labels,
        ((test_x - mean) / std).astype(np.float32),
        test_labels,
    )


def forward(params, x):
    """Values before and after each hidden layer's ReLU, and the digits' scores."""
    z1 = x @ params["W1"] + params["b1"]
    h1 = gn.relu(z1)
    z2 = h1 @ params["W2"] + params["b2"]
    h2 = gn.relu(z2)
    return z1, h1, z2, h2, h2 @ params["W3"] + params["b3"]


def gradients(params, x, labels):
    """Of the mean loss over a micro-batch."""
    z1, h1, z2, h2, scores = forward(params, x)
    _, dscores = gn.losses.softmax_cross_entropy(scores, labels)
    dz2 = gn.relu.backward(dscores @ params["W3"].T, z2)
    dz1 = gn.relu.backward(dz2 @ params["W2"].T, z1)
    return {
        "W1": x.T @ dz1, "b1": dz1.sum(axis=0),
        "W2": h1.T @ dz2, "b2": dz2.sum(axis=0),
        "W3": h2.T @ dscores, "b3": dscores.sum(axis=0),
    }  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description="Train a network on handwritten digits on several ranks.")
    parser.add_argument("--epochs", type=int, default=10, help="rounds over the images; default: 10")
    epochs = parser.parse_args().epochs
    x, labels, test_x, test_labels = load_data()

    rng = np.random.default_rng(0)  # with one seed on every rank, as the order of rows is the same for all
    params = {
        "W1": gn.init.he_normal((64, 256), rng=rng), "b1": np.zeros(256, np.float32),
        "W2": gn.init.he_normal((256, 256), rng=rng), "b2": np.zeros(256, np.float32),
        "W3": gn.init.he_normal((256, 10), rng=rng), "b3": np.zeros(10, np.float32),
    }  # fmt: skip
    optimizer = gn.distributed(gn.Adam, params, comm=COMM, lr=1e-3, max_norm=1.0)
    rank, size = optimizer.comm.rank, optimizer.comm.size
    batches = gn.minibatches(
        x, labels, batch_size=MICRO_BATCHES * ROWS, rng=rng, drop_last=True, part=(rank, size)
    )

    def share(images, digits):
        """This rank's micro-batches of a step, one after another."""
        for k in range(0, len(digits), ROWS):
            yield gradients(params, images[k : k + ROWS], digits[k : k + ROWS])

    for epoch in range(1, epochs + 1):
        for batch in batches:
            optimizer.step(share(*batch))
        if rank == 0 and (epoch == 1 or epoch % 5 == 0 or epoch == epochs):
            loss, _ = gn.losses.softmax_cross_entropy(forward(params, x)[-1], labels)
            print(f"epoch {epoch:3}  loss {loss:.5f}")

    if rank == 0:
        accuracy = np.mean(forward(params, test_x)[-1].argmax(axis=1) == test_labels)
        digest = hashlib.sha256(b"".join(p.tobytes() for p in params.values())).hexdigest()
        print(f"test accuracy {accuracy:.4f}")
        print(f"parameters {digest[:16]} on {size} {'rank' if size == 1 else 'ranks'}")


if __name__ == "__main__":
    with threadpool_limits(1, user_api="blas"):  # its number of threads changes the bits of products
        main()
