"""torchvision beside any build of torch."""

import torch

from bitwright.networks.torchvision_import import import_torchvision, nms


def test_detectors_run():
    """A detector of torchvision's runs, non-maximum suppression included."""
    torchvision = import_torchvision()
    detector = torchvision.models.detection.ssdlite320_mobilenet_v3_large(
        weights=None, weights_backbone=None
    )
    with torch.no_grad():
        (found,) = detector.eval()([torch.rand(3, 320, 320)])
    assert found["boxes"].shape == (len(found["scores"]), 4)


def test_overlapping_boxes_of_lower_score_go():
    """Boxes that overlap a better one by more than the threshold go; at the threshold they stay."""
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 5], [1, 1, 9, 9], [20, 20, 30, 30]])
    scores = torch.tensor([0.5, 0.9, 0.8, 0.1])
    # Areas 100, 50, 64, 100; box 0 shares 50 of 100 with box 1, box 2 shares 32 of 82 with it.
    assert nms(boxes, scores, 0.5).tolist() == [1, 2, 3]
    assert nms(boxes, scores, 0.7).tolist() == [1, 2, 0, 3]
    assert nms(boxes, scores, 0.3).tolist() == [1, 3]
    assert nms(boxes[:0], scores[:0], 0.5).tolist() == []
