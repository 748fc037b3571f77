"""Pictures as data: charts of numbers and words, which two renderers draw."""
