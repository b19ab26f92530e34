"""The shared code of all claims: measured servers, rows, load generators and report."""
