"""The schedule of CycleGAN."""

from __future__ import annotations


class Linear:
    """Constant for n_steps, then in a straight line to zero over n_steps_decay.

    Zhu et al. 2017, section 4: 100 epochs constant, 100 epochs of decay. The factor is zero for the first time one step
    after the run's last.
    """

    def __init__(self, n_steps: int, n_steps_decay: int) -> None:
        self.n_steps, self.n_steps_decay = n_steps, n_steps_decay

    def __call__(self, step: int) -> float:
        return 1.0 - decayed(step, self.n_steps, self.n_steps_decay)


def decayed(step: int, n_steps: int, n_steps_decay: int) -> float:
    """How much of the decay lies behind, in [0, 1]: 0 for the first n_steps, 1 from step n_steps + n_steps_decay on."""
    # The authors' rule, max(0, epoch + 1 - n_epochs) / (n_epochs_decay + 1), counted in steps and not in epochs: the
    # line then has no stairs, and a run has no need to end with an epoch.
    return min(max(0, step + 1 - n_steps) / (n_steps_decay + 1), 1.0)
