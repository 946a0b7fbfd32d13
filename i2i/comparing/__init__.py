"""Components, recipes and runs compared by what training makes of them: one budget, one order of images, all seeds."""
