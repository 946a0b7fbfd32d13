"""What the code of CycleGAN's, pix2pix's and CUT's authors left behind, read into i2i."""
