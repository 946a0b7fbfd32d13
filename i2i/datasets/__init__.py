"""Sets of images: looked at before training, downloaded, and made out of other sets."""
