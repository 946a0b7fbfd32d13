"""What the CycleGAN authors' code (junyanz/pytorch-CycleGAN-and-pix2pix) left behind, read into i2i."""
