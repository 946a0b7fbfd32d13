"""CycleGAN as its authors wrote it: the reference components, registered like anyone's plugin."""

from i2i import hookimpl
from i2i.data.folders import Folders, Root
from i2i.hookspecs import Factories
from i2i.reference import metrics
from i2i.reference.cyclegan import CycleGAN
from i2i.reference.image_pool import ImagePool
from i2i.reference.init import Normal
from i2i.reference.linear import Linear
from i2i.reference.losses import L1, LSGAN
from i2i.reference.normalization import InstanceNorm
from i2i.reference.patchgan import PatchGAN
from i2i.reference.resnet import ResnetGenerator
from i2i.watch.health import Health


@hookimpl
def register_methods() -> Factories:
    return {"cyclegan": CycleGAN}


@hookimpl
def register_generators() -> Factories:
    return {"resnet": ResnetGenerator}


@hookimpl
def register_discriminators() -> Factories:
    return {"patchgan": PatchGAN}


@hookimpl
def register_normalizations() -> Factories:
    return {"instance": InstanceNorm}


@hookimpl
def register_losses() -> Factories:
    return {"l1": L1}


@hookimpl
def register_adversarial_losses() -> Factories:
    return {"lsgan": LSGAN}


@hookimpl
def register_metrics() -> Factories:
    return {"l1": metrics.L1, "psnr": metrics.PSNR}


@hookimpl
def register_buffers() -> Factories:
    return {"image_pool": ImagePool}


@hookimpl
def register_initializations() -> Factories:
    return {"normal": Normal}


@hookimpl
def register_schedules() -> Factories:
    return {"linear": Linear}


@hookimpl
def register_sources() -> Factories:
    return {"folders": Folders, "root": Root}


@hookimpl
def register_watchers() -> Factories:
    return {"health": Health}
