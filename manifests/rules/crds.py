"""Validate documents against CustomResourceDefinitions, the API server's own schemas, if the user has the files.

An openAPIV3Schema is almost a JSON schema, which jsonschema validates. Three things differ: fields that `properties`
does not name are refused (the API server prunes them, or refuses them with --validate=strict),
`x-kubernetes-int-or-string` stands for two types, and `nullable` adds one.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import UnknownType, ValidationError

from shardline.manifests.documents import ParsedDocument, find_files, read_file
from shardline.manifests.rules.rule import Finding, key
from shardline.manifests.rules.scalars import shown
from shardline.wire.errors import ManifestError

CRD = "CustomResourceDefinition"
_AS_SHIPPED = "give the file that KServe ships"
_PRESERVE = "x-kubernetes-preserve-unknown-fields"
# no part of the validation; `$ref`, which is not allowed in a CRD, is left out, too
_IGNORED = ("default", "description", "example", "format")
_INT_OR_STRING = "x-kubernetes-int-or-string"


@dataclass(frozen=True, slots=True, kw_only=True)
class Schemas:
    """Validators by (apiVersion, kind), and the kinds whose CRDs accept everything."""

    validators: Mapping[tuple[str, str], Draft202012Validator]
    open_kinds: tuple[str, ...] = ()

    def findings(self, document: Mapping[str, Any]) -> Iterator[Finding]:
        """Validate a document against the schema of its kind, if there is one.

        Raises:
            ManifestError: the schema itself is invalid.
        """
        validator = self.validators.get((str(document.get("apiVersion")), str(document.get("kind"))))
        if validator is None:
            return
        try:
            errors = sorted(validator.iter_errors(_without_nulls(document)), key=_path)
        except (UnknownType, TypeError, ValueError, AttributeError, KeyError, re.error) as exc:
            raise ManifestError(f"the {CRD} of {document['kind']} is invalid ({exc!r:.200}): {_AS_SHIPPED}") from exc
        for error in errors:
            yield _path(error), _message(error)


def read_crds(path: Path) -> list[Mapping[str, Any]]:
    """Read the CRDs of a file or of a folder's files.

    Raises:
        FileError: the path does not exist.
        ManifestError: a file is not YAML, or there is no CRD.
    """
    found = [item for file in find_files([path]) for item in read_file(file)]
    documents = [item.document for item in found if isinstance(item, ParsedDocument)]
    crds = [document for document in documents if isinstance(document, Mapping) and document.get("kind") == CRD]
    if not crds:
        raise ManifestError(f"--crds {path} holds no {CRD}: give KServe's config/crd/full or one of its files")
    return crds


def compile_crds(crds: Sequence[Mapping[str, Any]]) -> Schemas:
    """Turn CRDs into validators.

    Raises:
        ManifestError: an invalid CRD.
    """
    validators: dict[tuple[str, str], Draft202012Validator] = {}
    open_kinds = []
    for crd in crds:
        try:
            group, kind = crd["spec"]["group"], crd["spec"]["names"]["kind"]
            for version in crd["spec"]["versions"]:
                schema = version["schema"]["openAPIV3Schema"]
                if _is_open(schema):
                    open_kinds.append(kind)
                # check_schema would take six seconds for KServe's largest; see `findings`
                validators[f"{group}/{version['name']}", kind] = Draft202012Validator(_convert(schema, root=True))
        except (KeyError, TypeError, AttributeError) as exc:
            raise ManifestError(f"a {CRD} is invalid ({exc!r:.200}): {_AS_SHIPPED}") from exc
    return Schemas(validators=validators, open_kinds=tuple(open_kinds))


def _is_open(schema: Mapping[str, Any]) -> bool:
    """True for a schema that accepts any spec, as those of KServe's config/crd/minimal do."""
    spec = schema.get("properties", {}).get("spec", {})
    return bool(schema.get(_PRESERVE) or spec.get(_PRESERVE) or not spec.get("properties"))


def _convert(schema: Mapping[str, Any], *, root: bool = False) -> dict[str, Any]:
    converted: dict[str, Any] = {}
    for name, value in schema.items():
        if name in ("properties", "patternProperties"):
            converted[name] = {field: _convert(nested) for field, nested in value.items()}
        elif name in ("items", "additionalProperties", "not") and isinstance(value, Mapping):
            converted[name] = _convert(value)
        elif name in ("allOf", "anyOf", "oneOf"):
            converted[name] = [_convert(alternative) for alternative in value]
        elif not name.startswith(("x-kubernetes-", "$")) and name not in _IGNORED:
            converted[name] = value
    if "properties" in schema and not schema.get(_PRESERVE):
        converted.setdefault("additionalProperties", False)
    if root:  # a CRD leaves these to the API server
        converted["properties"] = {**converted.get("properties", {}), "apiVersion": {}, "kind": {}, "metadata": {}}
    if schema.get(_INT_OR_STRING):
        converted = {name: value for name, value in converted.items() if name not in ("type", "anyOf")}
        converted["type"] = ["integer", "string"]
    if converted.pop("nullable", False) and "type" in converted:
        types = converted["type"]
        converted["type"] = [*(types if isinstance(types, list) else [types]), "null"]
    return converted


def _without_nulls(value: Any) -> Any:
    """Remove null fields, which count as absent."""
    if isinstance(value, Mapping):
        return {name: _without_nulls(field) for name, field in value.items() if field is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def _path(error: ValidationError) -> str:
    path = ""
    for step in error.absolute_path:
        path = f"{path}[{step}]" if isinstance(step, int) else key(path, step)
    return path


def _message(error: ValidationError) -> str:
    found, limit, instance = shown(error.instance), _words(error.validator_value), error.instance
    match error.validator:
        case "additionalProperties":
            known = error.schema.get("properties", ()) if isinstance(error.schema, Mapping) else ()
            unknown = [
                name for name in map(str, instance if isinstance(instance, Mapping) else ()) if name not in known
            ]
            return f"the CRD knows no field {', '.join(unknown)}: remove it or check its spelling"
        case "required":
            missing = [name for name in limit if not isinstance(instance, Mapping) or name not in instance]
            return f"the CRD requires {', '.join(missing)}: add it"
        case "enum":
            return f"found {found}, the CRD allows {', '.join(limit)}"
        case "type":
            return f"found {found}, the CRD allows {' or '.join(limit)}"
        case _:
            return f"found {found}, the CRD allows {error.validator} {', '.join(limit)}"


def _words(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]
