"""What `import metaviz` offers: stored runs, training, evaluation and prediction from Python."""
