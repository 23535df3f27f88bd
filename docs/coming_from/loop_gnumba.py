def data():
    import numpy as np

    rng = np.random.default_rng(0)
    x = rng.standard_normal((256, 8)).astype(np.float32)
    w1, w2 = (0.3 * rng.standard_normal(shape).astype(np.float32) for shape in ((8, 32), (32, 1)))
    return x, np.sin(x.sum(axis=1, keepdims=True)), w1, w2


# ---
import gnumba as gn

x, target, w1, w2 = data()

opt = gn.AdamW(
    [w1, w2],
    lr=1e-2,
    eps=1e-8,
    weight_decay=0.01,
    max_norm=1.0,
)
losses = []
for _ in range(50):
    a = x @ w1
    h = gn.silu(a)
    loss, dy = gn.losses.mse(h @ w2, target)

    da = gn.silu.backward(dy @ w2.T, a)
    opt.step([x.T @ da, h.T @ dy])

    losses.append(loss)
