"""Images from noise: the original GAN, with the networks of DCGAN."""

from __future__ import annotations

from i2i import hookimpl
from i2i.hookspecs import Factories
from i2i_plugins.gan.dcgan import DCGANDiscriminator, DCGANGenerator
from i2i_plugins.gan.method import GAN


@hookimpl
def register_methods() -> Factories:
    return {"gan": GAN}


@hookimpl
def register_networks() -> Factories:
    return {"dcgan_generator": DCGANGenerator}


@hookimpl
def register_discriminators() -> Factories:
    return {"dcgan_discriminator": DCGANDiscriminator}
