# ---
import torch
from loop_gnumba import data
from torch.nn import functional as F
from torch.nn.utils import clip_grad_norm_

x, target, w1, w2 = map(torch.tensor, data())
w1.requires_grad_(), w2.requires_grad_()

opt = torch.optim.AdamW([w1, w2], lr=1e-2)
losses = []
for _ in range(50):
    a = x @ w1
    h = F.silu(a)
    loss = F.mse_loss(h @ w2, target)
    opt.zero_grad()
    loss.backward()
    clip_grad_norm_([w1, w2], 1.0)
    opt.step()
    losses.append(loss.item())
