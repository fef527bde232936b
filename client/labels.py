"""Labels and annotations of the objects of a chain, and the type of a Kubernetes document."""

from typing import Any

Document = dict[str, Any]
"""A Kubernetes object, as its JSON or YAML is parsed."""

# labels of every object that Shardline renders
PART_OF_LABEL = "app.kubernetes.io/part-of"
MANAGED_LABEL = "app.kubernetes.io/managed-by"
MANAGED = f"{MANAGED_LABEL}=shardline"  # as a label selector
BUNDLE_LABEL = "shardline/bundle"
STAGE_LABEL = "shardline/stage"
DIGEST_ANNOTATION = "shardline/bundle-digest"

# labels that KServe's controller puts on the pods of a component and of a graph's router
SERVICE_LABEL = "serving.kserve.io/inferenceservice"
COMPONENT_LABEL = "component"
GRAPH_LABEL = "serving.kserve.io/inferencegraph"

MODE_ANNOTATION = "serving.kserve.io/deploymentMode"
