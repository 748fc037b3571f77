"""What `metaviz.plugin` offers beyond the engine: problems of arrays, modules, checks."""
