"""Label efficiency of pretraining: initialisations x label fractions x seeds of one detector."""
