"""How good predictions are: detection, instance and semantic segmentation, classification. Pure functions over arrays.

``definitions.DEFINITIONS`` says of every number what it is; docs/notes/evaluation.md says where each definition comes from.
"""
