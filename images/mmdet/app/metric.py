"""How a stage is measured: mmdetection's own CocoMetric, with the counts at a confidence threshold beside it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from job_files.evaluate import Boxes, Metrics, evaluate
from mmdet.evaluation.metrics import CocoMetric
from mmdet.registry import METRICS

#: CocoMetric's names and the contract's: the contract's mAP is the one at IoU 0.5.
NAMES = {"mAP": "mAP50_95", "mAP_50": "mAP", "mAP_75": "mAP75", "mAP_s": "mAP_small", "mAP_m": "mAP_medium", "mAP_l": "mAP_large"}


@METRICS.register_module()
class StageMetric(CocoMetric):
    """CocoMetric that also compares boxes at IoU 0.5: ``counts`` has tp, fp, fn at ``conf_thres`` and the recall, in the first process."""

    def __init__(self, conf_thres: float, collect_dir: str, **how: Any) -> None:
        super().__init__(**how)
        self.conf_thres, self.collect_dir = conf_thres, collect_dir
        self.counts = Metrics(0.0, 0.0, {}, 0, 0, 0)

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        """Numbers by CocoMetric's names."""
        measured = dict(super().compute_metrics(results))
        found = [Boxes(one["bboxes"].astype(float), one["labels"].astype(int), one["scores"].astype(float)) for _, one in results]
        truth = [self._truth(one["img_id"]) for _, one in results]
        self.counts = evaluate(found, truth, len(self.cat_ids), 0.5, self.conf_thres)
        return measured

    def _truth(self, image_id: int) -> Boxes:
        objects = [found for found in self._coco_api.load_anns(self._coco_api.get_ann_ids(img_ids=[image_id])) if not found["iscrowd"]]
        corners = np.array([found["bbox"] for found in objects], float).reshape(-1, 4)
        corners[:, 2:] += corners[:, :2]
        labels = np.array([self.cat_ids.index(found["category_id"]) for found in objects], int)
        return Boxes(corners, labels, np.ones(len(labels)))


def stage_metrics(measured: dict[str, float], counts: Metrics, *, outlines: bool) -> dict[str, float]:
    """The contract's numbers: mAP and mAR (at IoU 0.5), mAP50_95, sizes, tp, fp, fn; maskAP and boxAP with outlines.

    A number that CocoMetric could not tell (-1: no object of the size; missing: nothing was found) is left out, but mAP and maskAP are 0.
    """
    numbers = {"mAP": 0.0}
    for name, ours in NAMES.items():
        value = float(measured.get(f"coco/bbox_{name}", math.nan))
        if value >= 0:
            numbers[ours] = value
    if outlines:
        numbers["boxAP"] = numbers["mAP"]
        numbers["maskAP"] = max(float(measured.get("coco/segm_mAP_50", 0.0)), 0.0)
        numbers["maskAP50_95"] = max(float(measured.get("coco/segm_mAP", 0.0)), 0.0)
    return {**numbers, "mAR": counts.mean_ar, "tp": counts.tp, "fp": counts.fp, "fn": counts.fn}
