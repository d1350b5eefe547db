"""How many labels pretraining saves: arms x shares of the labels x seeds of one detector."""
