"""Training, of float networks and of quantized ones (QAT): loop, recipe, estimators."""
