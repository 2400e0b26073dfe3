"""What every image of ours does alike: the contract's files, the start of a job, stages, curves, weights on disk, the device.

Knows nothing of any network. An image carries it by a link in its folder (``app/job_files -> ../../job_files``). ``device``, ``weights`` and
``schedule`` need torch, ``selecting`` needs the package ``mining``; the rest needs numpy, Pillow and PyYAML alone.
"""
