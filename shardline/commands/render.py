"""`shardline render`: a bundle -> Kubernetes YAML."""

