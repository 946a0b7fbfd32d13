"""A plain loader of two folders for a CycleGAN, as most people write it: Pillow, torchvision transforms, DataLoader.

The yardstick for the input pipeline. It depends on Pillow, torch and torchvision alone, knows nothing of i2i, and stays
as it is. Each item is an image of each domain, decoded anew at every use, as in the code of the CycleGAN's authors:
resized to 286 px, cropped to 256, mirrored half of the time, in [-1, 1].
"""

import random
from pathlib import Path

import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms


class TwoFolders(Dataset):
    def __init__(self, a: Path, b: Path, load_size: int, crop_size: int) -> None:
        self.files_a, self.files_b = sorted(a.iterdir()), sorted(b.iterdir())
        self.transform = transforms.Compose(
            [
                transforms.Resize((load_size, load_size), transforms.InterpolationMode.BICUBIC),
                transforms.RandomCrop(crop_size),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
            ]
        )

    def __len__(self) -> int:
        return max(len(self.files_a), len(self.files_b))

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        file_a = self.files_a[index % len(self.files_a)]
        file_b = random.choice(self.files_b)
        a = self.transform(Image.open(file_a).convert("RGB"))
        b = self.transform(Image.open(file_b).convert("RGB"))
        return {"a": a, "b": b}


def textbook_loader(a: Path, b: Path, load_size: int, crop_size: int, n_workers: int) -> DataLoader:
    """Batches of one image of each domain: {"a": (1, 3, H, W), "b": (1, 3, H, W)}, an epoch of them."""
    return DataLoader(TwoFolders(a, b, load_size, crop_size), batch_size=1, shuffle=True, num_workers=n_workers)
