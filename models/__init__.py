"""Networks: layouts, specs, the registry, weights and engines. Imports nothing else of posestream."""
