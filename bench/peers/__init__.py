"""What our figures are compared with. Nothing under src/ imports these."""
