"""Gradients from PyTorch."""

# ---
import torch

import gnumba as gn

torch.manual_seed(0)
x, y = torch.randn(128, 4), torch.randn(128, 1)
net = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.Linear(16, 1))
silu = gn.torch_function(gn.silu)

opt = gn.AdamW(net.named_parameters(), lr=1e-2)
losses = []
for _ in range(100):
    loss = ((net[1](silu(net[0](x))) - y) ** 2).mean()
    net.zero_grad()
    loss.backward()
    opt.step({name: p.grad for name, p in net.named_parameters()})
    losses.append(loss.item())
