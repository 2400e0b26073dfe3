"""What each number is, in one sentence each: every result carries those it uses, so that nobody compares two numbers that only share a name."""

from __future__ import annotations

from collections.abc import Iterable

_COCO = "as COCOeval computes it: up to 100 predictions of a class in a picture, crowds ignored, difficult objects counted like others"

DEFINITIONS: dict[str, str] = {
    # ------------------------------------------------------------------------------------------------------ detection, COCO
    "AP": f"COCO mAP: mean over classes and IoU 0.50:0.05:0.95 of the precision at 101 recalls, {_COCO}",
    "AP50": f"COCO mAP at IoU 0.50: mean over classes of the precision at 101 recalls, {_COCO}",
    "AP75": f"COCO mAP at IoU 0.75: mean over classes of the precision at 101 recalls, {_COCO}",
    "AP_small": "COCO AP of objects up to 32 x 32 pixels of area; other objects, and predictions of another size that match none, are ignored",
    "AP_medium": "COCO AP of objects of 32 x 32 to 96 x 96 pixels of area; other objects, and predictions of another size that match none, are ignored",
    "AP_large": "COCO AP of objects from 96 x 96 pixels of area; other objects, and predictions of another size that match none, are ignored",
    "AR_1": "COCO AR: mean over classes and IoU 0.50:0.05:0.95 of the share of objects found by the single surest prediction of a class in a picture",
    "AR_10": "COCO AR: mean over classes and IoU 0.50:0.05:0.95 of the share of objects found by the 10 surest predictions of a class in a picture",
    "AR_100": "COCO AR: mean over classes and IoU 0.50:0.05:0.95 of the share of objects found by the 100 surest predictions of a class in a picture",
    "AR_small": "AR_100 of objects up to 32 x 32 pixels of area",
    "AR_medium": "AR_100 of objects of 32 x 32 to 96 x 96 pixels of area",
    "AR_large": "AR_100 of objects from 96 x 96 pixels of area",
    # ------------------------------------------------------------------------------------------------------- detection, VOC
    "AP_voc2007": "VOC 2007 mAP: mean over classes of the mean of the largest precision at recalls 0, 0.1, ..., 1, at one IoU; each prediction is "
    "judged by the object it overlaps most; difficult objects (and crowds) ignored; no limit on predictions",
    "AP_voc2010": "VOC 2010-2012 mAP: mean over classes of the area under the precision envelope over all recalls, at one IoU; each prediction is "
    "judged by the object it overlaps most; difficult objects (and crowds) ignored; no limit on predictions",
    # ------------------------------------------------------------------------------------------- detection, one confidence
    "tp": "predictions with at least the confidence that took an object of their class: surest first, each the free object it overlaps most, "
    "at least by the IoU",
    "fp": "predictions with at least the confidence that took no object; those that took a crowd or a difficult object are ignored",
    "fn": "objects that no such prediction took; crowds and difficult objects are ignored",
    "precision": "tp / (tp + fp)",
    "recall": "tp / (tp + fn)",
    "f1": "2 tp / (2 tp + fp + fn)",
    "best_f1": "the largest F1 of the class at any confidence, chosen on this very test set",
    "best_f1_confidence": "the highest confidence that gives best_f1",
    "marks": "predictions: TP, FP, IGNORED (below the confidence, or took a crowd or difficult object); objects: MTP (found; YMIR's word), FN, IGNORED. "
    "touched_by counts the predictions of the class that overlap an object at least by the IoU: above 1 it was found more than once",
    "confusion": "rows: the true class, columns: the predicted one; the diagonal is tp. Predictions and objects that are left are matched "
    "whatever the class, surest first; what is left then is paired with the background",
    # ------------------------------------------------------------------------------------------------------ classification
    "accuracy": "share of pictures whose surest class (of several equally sure ones the first) is the true one",
    "top5_accuracy": "share of pictures whose true class is among the five surest; of equal scores the class that comes first is surer",
    "subset_accuracy": "share of pictures whose set of predicted classes is exactly the true set",
    "macro_precision": "mean of the precision of the classes that occur, as truth or as prediction; 0 where a class is never predicted",
    "macro_recall": "mean of the recall of the classes that occur, as truth or as prediction; 0 where a class is never true",
    "macro_f1": "mean of the F1 of the classes that occur, as truth or as prediction",
    "micro_precision": "tp / (tp + fp) of all classes together",
    "micro_recall": "tp / (tp + fn) of all classes together",
    "micro_f1": "2 tp / (2 tp + fp + fn) of all classes together",
    "weighted_precision": "mean of the precision of the classes, weighted by how often each is true",
    "weighted_recall": "mean of the recall of the classes, weighted by how often each is true",
    "weighted_f1": "mean of the F1 of the classes, weighted by how often each is true",
    # ----------------------------------------------------------------------------------------------- semantic segmentation
    "aAcc": "share of labelled pixels with the right class; pixels with the ignored value do not count",
    "mAcc": "mean over the classes that occur in the truth of the share of their pixels that were given that class",
    "mIoU": "mean over the classes that occur, as truth or as prediction, of intersection over union of all their pixels in all pictures",
    "Acc": "share of the class's pixels that were given that class",
    "IoU": "pixels that are the class in truth and prediction, by those that are it in either, over all pictures together",
}


def defined(names: Iterable[str]) -> dict[str, str]:
    """The definitions of these, in their order."""
    return {name: DEFINITIONS[name] for name in names}
