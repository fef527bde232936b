"""What some text fields allow: enumerations that the typed models leave out.

KServe's stand in its CRDs (config/crd/full), Kubernetes' in its API reference.
"""

from collections.abc import Mapping

_SCALE_METRICS = ("cpu", "memory", "concurrency", "rps")
_TARGETS = ("Utilization", "Value", "AverageValue")
_COMPONENTS = (
    "V1beta1PredictorSpec",
    "V1beta1TransformerSpec",
    "V1beta1ExplainerSpec",
    "V1beta1ComponentExtensionSpec",
)

# model.field -> the texts that it takes
ENUMS: Mapping[str, tuple[str, ...]] = {
    "V1alpha1InferenceRouter.routerType": ("Sequence", "Splitter", "Ensemble", "Switch"),
    "V1alpha1InferenceStep.dependency": ("Soft", "Hard"),
    "V1alpha1InferenceGraphSpec.scaleMetric": _SCALE_METRICS,
    **{f"{each}.scaleMetric": _SCALE_METRICS for each in _COMPONENTS},
    **{f"{each}.scaleMetricType": _TARGETS for each in _COMPONENTS},
    "V1beta1MetricTarget.type": _TARGETS,
    "V1beta1MetricsSpec.type": ("Resource", "External", "PodMetric"),
    "V1beta1ResourceMetricSource.name": ("cpu", "memory"),
    "V1beta1ExternalMetrics.backend": ("prometheus", "graphite"),
    "V1beta1PodMetrics.backend": ("opentelemetry",),
    "V1beta1LoggerSpec.mode": ("all", "request", "response"),
    "V1alpha1StorageContainerSpec.workloadType": ("initContainer", "localModelDownloadJob"),
    "V1Container.imagePullPolicy": ("Always", "Never", "IfNotPresent"),
    "V1beta1ModelSpec.imagePullPolicy": ("Always", "Never", "IfNotPresent"),
    "V1Container.terminationMessagePolicy": ("File", "FallbackToLogsOnError"),
    "V1ContainerPort.protocol": ("TCP", "UDP", "SCTP"),
    "V1ServicePort.protocol": ("TCP", "UDP", "SCTP"),
    "V1NetworkPolicyPort.protocol": ("TCP", "UDP", "SCTP"),
    "V1HTTPGetAction.scheme": ("HTTP", "HTTPS"),
    "V1SeccompProfile.type": ("RuntimeDefault", "Unconfined", "Localhost"),
    "V1Toleration.operator": ("Exists", "Equal", "Lt", "Gt"),
    "V1Toleration.effect": ("NoSchedule", "PreferNoSchedule", "NoExecute"),
    "V1TopologySpreadConstraint.whenUnsatisfiable": ("DoNotSchedule", "ScheduleAnyway"),
    "V1DeploymentStrategy.type": ("Recreate", "RollingUpdate"),
    "V1HTTPIngressPath.pathType": ("Exact", "Prefix", "ImplementationSpecific"),
    "V1PodDisruptionBudgetSpec.unhealthyPodEvictionPolicy": ("IfHealthyBudget", "AlwaysAllow"),
    "V1NodeSelectorRequirement.operator": ("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"),
    "V1LabelSelectorRequirement.operator": ("In", "NotIn", "Exists", "DoesNotExist"),
    "V2MetricSpec.type": ("ContainerResource", "External", "Object", "Pods", "Resource"),
    "V2MetricTarget.type": _TARGETS,
    "V2HPAScalingRules.selectPolicy": ("Max", "Min", "Disabled"),
    "V2HPAScalingPolicy.type": ("Pods", "Percent"),
}
