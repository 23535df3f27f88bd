r"""LaTeX of the public formulas, by name; one line of the page each. θ is the parameter, g the gradient."""

DENOMINATOR = r"\sqrt{\hat v + \varepsilon_\mathrm{root}} + \varepsilon"
MOMENTS = (
    r"m \leftarrow \beta_1 m + (1 - \beta_1)\, g, \qquad "
    r"v \leftarrow \beta_2 v + (1 - \beta_2)\, g^2, \\"
    "\n"
    r"\hat m = \frac{m}{1 - \beta_1^t}, \qquad \hat v = \frac{v}{1 - \beta_2^t}, \\"
)

FORMULAS = {
    # Optimizers
    "SGD": r"v \leftarrow \mu v + (1 - \tau)\, g, \qquad \theta \leftarrow \theta - \eta v",
    "Momentum": r"v \leftarrow \beta v + (1 - \beta)\, g, \qquad \theta \leftarrow \theta - \eta v",
    "AdaGrad": r"G \leftarrow G + g^2, \qquad "
    r"\theta \leftarrow \theta - \frac{\eta g}{\sqrt{G + \varepsilon_\mathrm{root}} + \varepsilon}",
    "RMSProp": r"E \leftarrow \gamma E + (1 - \gamma)\, g^2, \qquad "
    r"\theta \leftarrow \theta - \frac{\eta g}{\sqrt{E + \varepsilon_\mathrm{root}} + \varepsilon}",
    "AdaDelta": r"""
E \leftarrow \rho E + (1 - \rho)\, g^2, \qquad
\Delta = g\, \frac{\sqrt{D + \varepsilon_\mathrm{root}}}{\sqrt{E + \varepsilon_\mathrm{root}}}, \\
D \leftarrow \rho D + (1 - \rho)\, \Delta^2, \qquad \theta \leftarrow \theta - \eta \Delta""",
    "Adam": MOMENTS + "\n" + rf"\theta \leftarrow \theta - \frac{{\eta\, \hat m}}{{{DENOMINATOR}}}",
    "AdamW": MOMENTS + "\n"
    rf"\theta \leftarrow (1 - \eta\lambda)\, \theta - \frac{{\eta\, \hat m}}{{{DENOMINATOR}}}",
    "NAdam": r"""
\mu_t = \beta_1 \left(1 - 0.5 \cdot 0.96^{t\psi}\right), \qquad M_t = \mu_1 \mu_2 \cdots \mu_t, \\
\theta \leftarrow \theta - \eta \left[ \frac{(1 - \mu_t)\, g}{1 - M_t}
+ \frac{\mu_{t+1}\, m}{1 - M_{t+1}} \right] \Big/ \left(\sqrt{\hat v + \varepsilon_\mathrm{root}} + \varepsilon\right)""",
    "RAdam": r"""
\rho_\infty = \frac{2}{1 - \beta_2} - 1, \qquad
\rho_t = \rho_\infty - \frac{2 t \beta_2^t}{1 - \beta_2^t}, \qquad
r = \sqrt{\frac{(\rho_t - 4)(\rho_t - 2)\, \rho_\infty}{(\rho_\infty - 4)(\rho_\infty - 2)\, \rho_t}}, \\
\theta \leftarrow \theta - \eta\, r\, \frac{\hat m}{\sqrt{\hat v + \varepsilon_\mathrm{root}} + \varepsilon}
\ \text{ if } \rho_t > 5, \quad \text{else} \quad \theta \leftarrow \theta - \eta\, \hat m""",
    "Adamax": r"u \leftarrow \max(\beta_2 u,\ |g| + \varepsilon), \qquad "
    r"\theta \leftarrow \theta - \frac{\eta\, \hat m}{u}",
    "AdaBelief": r"s \leftarrow \beta_2 s + (1 - \beta_2)(g - m)^2 + \varepsilon_\mathrm{root}, \qquad "
    r"\theta \leftarrow \theta - \frac{\eta\, \hat m}{\sqrt{\hat s} + \varepsilon}",
    "Adan": r"""
\delta = g - g_-, \qquad m, n, v \text{ means of } g,\ \delta,\ (g + \beta_2 \delta)^2, \\
\theta \leftarrow \frac{1}{1 + \eta\lambda} \left( \theta
- \eta\, \frac{\hat m + \beta_2 \hat n}{\sqrt{\hat v + \varepsilon_\mathrm{root}} + \varepsilon} \right)""",
    "Lion": r"""
\theta \leftarrow \theta - \eta\, (\operatorname{sign}(\beta_1 m + (1 - \beta_1)\, g) + \lambda \theta), \\
m \leftarrow \beta_2 m + (1 - \beta_2)\, g""",
    "Rprop": r"""
s \leftarrow \eta_\pm\, s, \qquad \theta \leftarrow \theta - s \operatorname{sign}(g), \\
\eta_+ \text{ where } g\, g_- > 0,\ \eta_- \text{ and } g \leftarrow 0 \text{ where } g\, g_- < 0""",
    "LAMB": r"u = \frac{\hat m}{\sqrt{\hat v + \varepsilon_\mathrm{root}} + \varepsilon} + \lambda \theta, \qquad "
    r"\theta \leftarrow \theta - \eta\, \frac{\lVert\theta\rVert}{\lVert u \rVert}\, u",
    "LARS": r"g \leftarrow g + \lambda\theta, \qquad "
    r"v \leftarrow \mu v + \eta\, \tau \frac{\lVert\theta\rVert}{\lVert g \rVert}\, g, \qquad "
    r"\theta \leftarrow \theta - v",
    "ScheduleFreeSGD": r"\theta = (1 - \beta)\, z + \beta x, \qquad z \leftarrow z - \eta g, \qquad "
    r"x \leftarrow (1 - c)\, x + c z",
    "ScheduleFreeAdamW": r"""
\theta = (1 - \beta_1)\, z + \beta_1 x, \qquad
z \leftarrow z - \eta \left( \frac{g}{\sqrt{\hat v + \varepsilon_\mathrm{root}} + \varepsilon} + \lambda\theta \right),
\qquad x \leftarrow (1 - c)\, x + c z""",
    "Muon": r"\theta \leftarrow \theta - \eta \left( \sqrt{\max(1, \tfrac{\text{rows}}{\text{columns}})}\ U V^\top "
    r"+ \lambda\theta \right), \qquad U \Sigma V^\top = \mu m + (1 - \mu)\, g",
    "EMA": r"a \leftarrow \delta a + (1 - \delta)\, \theta",
    "Lookahead": r"s \leftarrow s + \alpha\, (\theta - s), \qquad \theta \leftarrow s \quad \text{every } k \text{ steps}",
    "SAM": r"\theta' = \theta + \rho\, \frac{g}{\lVert g \rVert}, \qquad g \leftarrow \nabla J(\theta')",
    # Activations
    "sigmoid": r"\sigma(x) = \frac{1}{1 + e^{-x}}",
    "tanh": r"\tanh x = \frac{e^x - e^{-x}}{e^x + e^{-x}}",
    "relu": r"\max(0, x)",
    "relu6": r"\min(\max(0, x),\ 6)",
    "leaky_relu": r"\begin{cases} x & x > 0 \\ \alpha x & \text{else} \end{cases}",
    "prelu": r"\begin{cases} x & x > 0 \\ \alpha x & \text{else} \end{cases} \qquad \alpha \text{ learned}",
    "elu": r"\begin{cases} x & x > 0 \\ \alpha\, (e^x - 1) & \text{else} \end{cases}",
    "celu": r"\begin{cases} x & x > 0 \\ \alpha\, (e^{x/\alpha} - 1) & \text{else} \end{cases}",
    "selu": r"\lambda \begin{cases} x & x > 0 \\ \alpha\, (e^x - 1) & \text{else} \end{cases} "
    r"\qquad \lambda \approx 1.0507,\ \alpha \approx 1.6733",
    "silu": r"x\, \sigma(x) = \frac{x}{1 + e^{-x}}",
    "swish": r"x\, \sigma(x) = \frac{x}{1 + e^{-x}}",
    "gelu": r"x\, \Phi(x) = \frac x2 \left(1 + \operatorname{erf} \frac{x}{\sqrt 2}\right)",
    "gelu_tanh": r"\frac x2 \left(1 + \tanh\left(\sqrt{\tfrac 2\pi}\, (x + 0.044715\, x^3)\right)\right)",
    "mish": r"x \tanh \log(1 + e^x)",
    "softplus": r"\frac{1}{\beta} \log(1 + e^{\beta x})",
    "log_sigmoid": r"\log \sigma(x) = -\log(1 + e^{-x})",
    "softsign": r"\frac{x}{1 + |x|}",
    "hard_sigmoid": r"\min(\max(0,\ \tfrac{x + 3}{6}),\ 1)",
    "hard_swish": r"x\, \min(\max(0,\ \tfrac{x + 3}{6}),\ 1)",
    "hard_tanh": r"\min(\max(\mathit{low},\ x),\ \mathit{high})",
    "soft_shrink": r"\operatorname{sign}(x)\, \max(|x| - \lambda,\ 0)",
    "hard_shrink": r"\begin{cases} x & |x| > \lambda \\ 0 & \text{else} \end{cases}",
    "tanh_shrink": r"x - \tanh x",
    "sine": r"\sin(\omega x)",
    "swiglu": r"x\, \operatorname{SiLU}(\mathit{gate})",
    "geglu": r"x\, \operatorname{GELU}(\mathit{gate})",
    "reglu": r"x\, \max(0, \mathit{gate})",
    "glu": r"x\, \sigma(\mathit{gate})",
    "softmax": r"y_i = \frac{e^{x_i}}{\sum_j e^{x_j}}",
    "log_softmax": r"y_i = x_i - \log \sum_j e^{x_j}",
    "dropout": r"\begin{cases} 0 & \text{with probability } p \\ x / (1 - p) & \text{else} \end{cases}",
    "alpha_dropout": r"""
a\, x' + b, \qquad x' = \begin{cases} \alpha' & \text{with probability } p \\ x & \text{else} \end{cases}, \\
\alpha' = -\lambda\alpha, \qquad a = \left((1 - p)(1 + p\, \alpha'^2)\right)^{-1/2}, \qquad b = -a\, p\, \alpha'""",
    # Losses: of one element
    "losses.mse": r"(p - t)^2",
    "losses.mae": r"|p - t|",
    "losses.huber": r"\begin{cases} \tfrac12 (p - t)^2 & |p - t| \le \delta \\ "
    r"\delta\, (|p - t| - \tfrac12 \delta) & \text{else} \end{cases}",
    "losses.log_cosh": r"\log \cosh(p - t)",
    "losses.hinge": r"\max(0,\ 1 - t p)",
    "losses.kl_divergence": r"t\, (\log t - p)",
    "losses.sigmoid_cross_entropy": r"-t \log \sigma(p) - (1 - t) \log(1 - \sigma(p))",
    "losses.softmax_cross_entropy": r"-\sum_i t_i \log \frac{e^{p_i}}{\sum_j e^{p_j}}",
    # Clipping
    "global_norm": r"n = \sqrt{\textstyle\sum g^2}",
    "clip_by_global_norm": r"g \leftarrow g \min(1,\ c / n), \qquad n = \sqrt{\textstyle\sum g^2} "
    r"\text{ over all gradients}",
}
