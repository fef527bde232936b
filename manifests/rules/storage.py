"""Where a component's model comes from: the rules of KServe's webhook and controller about storage."""

import posixpath
import re
from collections.abc import Iterator

from shardline.manifests.rules.components import Component, components, predictor
from shardline.manifests.rules.manifest import Manifest
from shardline.manifests.rules.rule import SERVICE, Finding, Severity, rule

_SOURCE = "inference_service_validation.go"
# utils.go SupportedStorageURIPrefixList
SCHEMES = (
    "gs://",
    "s3://",
    "pvc://",
    "file://",
    "https://",
    "http://",
    "hdfs://",
    "webhdfs://",
    "oci://",
    "oci+native://",
    "oci+fetch://",
    "hf://",
)
_MOUNT_PATH = "/mnt/models"


@rule(SERVICE, source="utils.go ValidateStorageURI")
def storage_scheme(service: Manifest) -> Iterator[Finding]:
    """A storage URI has a scheme that KServe's storage initializer takes."""
    for path, uri in _uris(service):
        if re.search(r"\w+?://", uri) and not uri.startswith(SCHEMES):
            yield (
                path,
                f"storageUri, must be one of: [{', '.join(SCHEMES)}] or match https://{{}}.blob.core.windows.net/"
                f"{{}}/{{}} or be an absolute or relative local path. StorageUri [{uri}] is not supported: push the "
                "bundle to gs://",
            )


@rule(SERVICE, source="utils.go ValidateStorageURI", severity=Severity.WARNING)
def storage_local(service: Manifest) -> Iterator[Finding]:
    """A storage URI is not a path of the machine that wrote it: a pod finds nothing there."""
    for path, uri in _uris(service):
        if not re.search(r"\w+?://", uri) or uri.startswith("file://"):
            yield path, f"found {uri!r}, which a pod looks for in its own file system: push the bundle to gs://"


def _uris(service: Manifest) -> Iterator[tuple[str, str]]:
    for component in components(service):
        if component.storage_uri is not None:
            yield component.storage_uri
        for index, each in enumerate(component.spec.get("storageUris", ())):
            yield f"{component.path}.storageUris[{index}].uri", each.get("uri", "")


@rule(SERVICE, source=_SOURCE)
def storage_twice(service: Manifest) -> Iterator[Finding]:
    """A component has a `storageUri` (or STORAGE_URI) or `storageUris`, not both."""
    for component in components(service):
        if component.storage_uri is not None and "storageUris" in component.spec:
            path = f"{component.path}.storageUris"
            yield path, f"Setting both StorageURI and StorageURIs is not supported.: keep {component.storage_uri[0]}"


@rule(SERVICE, source=_SOURCE)
def storage_paths(service: Manifest) -> Iterator[Finding]:
    """Each of `storageUris` has a URI and an absolute mountPath without `..`."""
    for component in components(service):
        for index, each in enumerate(component.spec.get("storageUris", ())):
            here = f"{component.path}.storageUris[{index}]"
            mount = each.get("mountPath", _MOUNT_PATH)
            if not each.get("uri"):
                yield f"{here}.uri", "storage URI cannot be empty: give one of gs://, s3://, pvc://"
            if mount == "/":
                yield f"{here}.mountPath", "storage path cannot be empty: give a folder such as /mnt/models/a"
            elif not mount.startswith("/"):
                yield f"{here}.mountPath", f"storage path must be absolute: {mount}"
            elif ".." in mount:
                yield f"{here}.mountPath", f"storage path cannot contain '..' for security reasons: {mount}"


@rule(SERVICE, source=_SOURCE)
def storage_parent(service: Manifest) -> Iterator[Finding]:
    """The mountPaths of several `storageUris` have a parent besides `/`, and volumes' differ."""
    for component in components(service):
        path = f"{component.path}.storageUris"
        mounts, volumes = _mounts(component, volumes=False), _mounts(component, volumes=True)
        if len(mounts) < 2 or not all(each.startswith("/") for each in mounts):
            continue
        if posixpath.commonpath(mounts) == "/":
            yield (
                path,
                "storage paths must have a common parent directory. Current paths: "
                f"[{' '.join(mounts)}] have no common parent beyond root: mount them side by side",
            )
        if len(set(volumes)) < len(volumes):
            yield path, f"PVC storage paths must be unique: found {', '.join(volumes)}"


def _mounts(component: Component, *, volumes: bool) -> list[str]:
    return [
        each.get("mountPath", _MOUNT_PATH)
        for each in component.spec.get("storageUris", ())
        if each.get("uri", "").startswith("pvc://") == volumes
    ]


@rule(SERVICE, source="raw_kube_reconciler.go CommonStorageInitialization")
def storage_volume_name(service: Manifest) -> Iterator[Finding]:
    """A single mountPath is of lower-case letters, digits and `-`: the volume is named after it."""
    for component in components(service):
        mounts = _mounts(component, volumes=False)
        if len(mounts) == 1 and not re.fullmatch(r"(/[a-z0-9]([-a-z0-9]*[a-z0-9])?)+/?|/", mounts[0]):
            path = f"{component.path}.storageUris[0].mountPath"
            yield path, f"found {mounts[0]!r}, of which KServe makes a volume's name: allowed are a-z, 0-9 and '-'"


@rule(SERVICE, source="confidential.go")
def confidential(service: Manifest) -> Iterator[Finding]:
    """`confidential` needs a storageUri, and a resourceId of the form kbs:///repo/type/tag."""
    framework = predictor(service).framework
    given = framework.fields.get("confidential", {}) if framework else {}
    if framework is None or not given.get("enabled"):
        return
    if not framework.fields.get("storageUri"):
        yield f"{framework.path}.storageUri", "confidential model serving requires storageUri to be set: add it"
    resource = given.get("resourceId")
    if resource and not re.fullmatch(r"kbs:///[\w.-]+/[\w.-]+/[\w.-]+", resource):
        path = f"{framework.path}.confidential.resourceId"
        yield path, f"found {resource!r}: must be in the format kbs:///<repo>/<type>/<tag>"
