"""What an evaluation computes with: labels, vectors, samples, windows, and their bounds."""
