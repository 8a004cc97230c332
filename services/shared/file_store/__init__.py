"""Files of batches in a folder or an S3-compatible store, and where each of them lies."""
