"""Label efficiency of pretraining: arms x label fractions x seeds of one detector."""
