"""What exists: images, links, datasets, models, predictions, jobs and leases, in one database. Importing this package loads nothing."""
