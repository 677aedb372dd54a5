"""What a deployment takes: recipes of container, compose and Kubernetes, what to watch, and the guide, `README.md`."""
