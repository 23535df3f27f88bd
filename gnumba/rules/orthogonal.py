"""Update rules with a direction of a whole matrix: what it is made of, and what is done with it."""

from .._rule import Elementwise, Rule, registry
from .terms import mean, plus

__all__ = ["muon"]


def ahead(p, g, m, o, mu, one_minus_mu, nesterov):
    """Momentum, or Nesterov's look-ahead along it: what Muon makes orthogonal. Jordan et al. 2024."""
    m = mean(m, g, mu, one_minus_mu)
    return mean(m, g, mu, one_minus_mu) if nesterov != 0.0 else m


AHEAD = Elementwise(
    ahead, ("p", "g", "m", "o"), ("o",), ("mu", "one_minus_mu", "nesterov"), scaled=True, title="rule 'muon'"
)


def orthogonal(fn):
    """Register the rule of a function that is lent o, the direction ahead made orthogonal."""
    made = registry[fn.__name__] = Rule(fn, lent={"o": AHEAD})
    return made


@orthogonal
def muon(p, g, m, o, /, lr, pull, mu, one_minus_mu):
    """Muon. Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/; decay: Liu et al. 2025."""
    return p - plus(lr * o, pull, p), mean(m, g, mu, one_minus_mu)
