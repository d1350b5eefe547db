"""A detector whose answer is known: it finds the red (0) and the blue (1) area of its input."""

import torch
from mmdet.models.detectors import BaseDetector
from mmengine.structures import InstanceData
from torch import nn

from drivemim.registry import MODELS

SCORES = (0.9, 0.4)


class ColorHead(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.num_classes = num_classes
        self.weight = nn.Parameter(torch.ones(1))


@MODELS.register_module()
class ColorDetector(BaseDetector):
    """Red has the score 0.9, blue 0.4. The input is RGB; boxes are rescaled as usual."""

    def __init__(self, data_preprocessor, num_classes=2, with_boxes=True):
        super().__init__(data_preprocessor)
        self.backbone = nn.Linear(1, 1)
        self.bbox_head = ColorHead(num_classes)
        self.with_boxes = with_boxes

    def extract_feat(self, batch_inputs):
        return (batch_inputs,)

    def loss(self, batch_inputs, batch_data_samples):
        return {"loss": self.bbox_head.weight.sum()}

    def _forward(self, batch_inputs, batch_data_samples=None):
        return batch_inputs

    def predict(self, batch_inputs, batch_data_samples, rescale=True):
        for image, sample in zip(batch_inputs, batch_data_samples, strict=True):
            if not self.with_boxes:
                continue
            boxes, labels = [], []
            red, _, blue = image
            for label, (this, other) in enumerate(((red, blue), (blue, red))):
                rows, columns = torch.nonzero((this > 150) & (other < 100), as_tuple=True)
                if len(rows):
                    edges = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
                    boxes.append([float(edge) for edge in edges])
                    labels.append(label)
            boxes = torch.tensor(boxes).reshape(-1, 4)
            boxes /= boxes.new_tensor(sample.scale_factor).repeat(2)
            scores = torch.tensor([SCORES[label] for label in labels])
            sample.pred_instances = InstanceData(
                bboxes=boxes, labels=torch.tensor(labels, dtype=torch.int64), scores=scores
            )
        return batch_data_samples
