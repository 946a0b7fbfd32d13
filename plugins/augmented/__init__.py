"""Augmentation of what the discriminator sees, around any adversarial loss: DiffAugment and ADA.

Real images and fakes are augmented alike before they are shown, and gradients reach the generator through it. With few
images the discriminator then learns them by heart less easily. Penalties of the game within are taken at the augmented
images.
"""

from i2i import hookimpl
from i2i.hookspecs import Factories
from i2i_plugins.augmented.ada import ADA
from i2i_plugins.augmented.diffaugment import DiffAugment


@hookimpl
def register_adversarial_losses() -> Factories:
    return {"diffaugment": DiffAugment, "ada": ADA}
