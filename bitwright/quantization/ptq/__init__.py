"""Post-training quantization: what lowers its loss without training."""
