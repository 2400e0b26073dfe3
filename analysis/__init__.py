"""What arrays of pictures, boxes and scores say: data features, near-duplicates, evaluation. Imports nothing of ours, so that images can carry it."""
