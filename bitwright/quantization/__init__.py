"""Quantizing networks: grids, calibration, running a bit configuration, and training (QAT)."""

from bitwright.quantization.apply import AppliedConfiguration as AppliedConfiguration
from bitwright.quantization.apply import AppliedQuantizers as AppliedQuantizers
from bitwright.quantization.apply import applied_quantizers as applied_quantizers
from bitwright.quantization.apply import apply_configuration as apply_configuration
from bitwright.quantization.apply import quantized_copy as quantized_copy
from bitwright.quantization.calibration import Calibration as Calibration
from bitwright.quantization.calibration import calibrate as calibrate
from bitwright.quantization.grids import QuantizationGrid as QuantizationGrid
from bitwright.quantization.grids import affine_grid as affine_grid
from bitwright.quantization.grids import fake_quantize as fake_quantize
from bitwright.quantization.grids import symmetric_grid as symmetric_grid
from bitwright.quantization.ptq.adaptive_rounding import RoundingRecipe as RoundingRecipe
from bitwright.quantization.ptq.adaptive_rounding import round_adaptively as round_adaptively
from bitwright.quantization.ptq.bias_correction import correct_biases as correct_biases
from bitwright.quantization.ptq.equalization import equalize_layers as equalize_layers
from bitwright.quantization.ptq.folding import fold_batch_norms as fold_batch_norms
from bitwright.quantization.ptq.post_training import post_training as post_training
from bitwright.quantization.ptq.post_training import prepare_post_training as prepare_post_training
from bitwright.quantization.qat.batch_norms import reestimate_batch_norms as reestimate_batch_norms
from bitwright.quantization.qat.blending import set_alpha as set_alpha
from bitwright.quantization.qat.estimators import ESTIMATORS as ESTIMATORS
from bitwright.quantization.qat.recipe import QAT_RECIPE as QAT_RECIPE
from bitwright.quantization.qat.recipe import TrainingRecipe as TrainingRecipe
from bitwright.quantization.qat.training import fit as fit
from bitwright.quantization.quantizers import GridQuantizer as GridQuantizer
from bitwright.quantization.quantizers import Quantizer as Quantizer
from bitwright.quantization.quantizers import require_quantizable as require_quantizable

__all__ = [
    "ESTIMATORS",
    "QAT_RECIPE",
    "AppliedConfiguration",
    "AppliedQuantizers",
    "Calibration",
    "GridQuantizer",
    "QuantizationGrid",
    "Quantizer",
    "RoundingRecipe",
    "TrainingRecipe",
    "affine_grid",
    "applied_quantizers",
    "apply_configuration",
    "calibrate",
    "correct_biases",
    "equalize_layers",
    "fake_quantize",
    "fit",
    "fold_batch_norms",
    "post_training",
    "prepare_post_training",
    "quantized_copy",
    "reestimate_batch_norms",
    "require_quantizable",
    "round_adaptively",
    "set_alpha",
    "symmetric_grid",
]
