"""What every image of ours does alike: the contract's files, the start of a job, stages, curves, the device. Knows nothing of any network.

An image carries it by a link in its folder (``app/job_files -> ../../job_files``). Everything but ``device`` needs no torch.
"""
