"""What Versori's own command line keeps, for who has it: imported only where one of its files may be looked at.

~/.versori/config.yaml     active_context: NAME
                           contexts: {NAME: {name, organisation_id, jwt, url_overwrite}}
.versori                   {"project_id": ID, "context": NAME}, in a project's folder
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

from .key import read_file
from .readers import BadValueError, Secret

_DEFAULT = os.path.join("~", ".versori", "config.yaml")
_PROJECT_FILE = ".versori"
_LONGEST = 1 << 20  # a wrong path shouldn't fill memory
_SETTINGS = {"organisation_id": "organisation_id", "api_key": "jwt", "base_url": "url_overwrite"}

Found = dict[str, tuple[Secret, str]]
"""By the names of settings: the value, and which entry of which file it is."""


def look_up(config: str, context: str, project: bool) -> tuple[Found, list[str]]:
    """What the files say, and what is wrong with them.

    Args:
        config: The path of the file of contexts; empty for the one in the home folder, which need not be there.
        context: The context to take; empty for the one that the project's file names, else the active one.
        project: Whether to look for a project's file, in the working directory and above.
    """
    problems: list[str] = []
    found: Found = {}
    named_by = "VERSORI_CONTEXT"
    path = _project_file() if project else None
    if path is not None:
        try:
            document = _mapping(path, _json(path))
        except BadValueError as problem:
            problems += problem.args
        else:
            _take(found, "project_id", document, "project_id", path)
            if not context and isinstance(document.reveal().get("context"), str):
                context, named_by = document.reveal()["context"].strip(), path
    try:
        found.update(_of_context(config, context, named_by))
    except BadValueError as problem:
        problems += problem.args
    return found, problems


def config_path(config: str) -> str:
    """The whole path of the file of contexts; the home folder's where `config` is empty."""
    return os.path.abspath(os.path.expanduser(config or _DEFAULT))


def _of_context(config: str, context: str, named_by: str) -> Found:
    path = config_path(config)
    asked = bool(config) or (bool(context) and named_by == "VERSORI_CONTEXT")
    if not asked and not os.path.exists(path):
        return {}
    where = f"VERSORI_CONFIG: {path}" if config else path
    document = _yaml(path, where)
    if document.reveal() is None and not asked:
        return {}  # as its own command line makes it before there is a context
    document = _mapping(where, document)
    contexts = _contexts(document)
    names = ", ".join(map(repr, contexts)) or "none"
    if not context:
        active = document.reveal().get("active_context")
        context, named_by = active.strip() if isinstance(active, str) else "", where
        if not context:
            raise BadValueError(
                f"{where} has no active_context: name one of its contexts ({names}) by VERSORI_CONTEXT"
            )
    if context not in contexts:
        raise BadValueError(
            f"{named_by} names the context {context!r}, which is not in {path}: name one of its contexts ({names})"
        )
    found: Found = {}
    for setting, entry in _SETTINGS.items():
        _take(found, setting, contexts[context], entry, f"the context {context!r} in {path}")
    if "api_key" in found:
        found["auth_scheme"] = Secret("JWT"), found["api_key"][1]
    return found


def _contexts(document: Secret) -> dict[str, Secret]:
    """The contexts by name, from a mapping or from a list of those that name themselves."""
    given = document.reveal().get("contexts")
    if not isinstance(given, Mapping):
        given = dict(enumerate(given)) if isinstance(given, list) else {}
    return {
        str(each.get("name") if isinstance(name, int) else name): Secret(each)
        for name, each in given.items()
        if isinstance(each, Mapping)
    }


def _take(found: Found, setting: str, document: Secret, entry: str, where: str) -> None:
    value = Secret(document.reveal().get(entry))
    if value.reveal() is not None and value.reveal() != "":
        found[setting] = value, f"{entry} of {where}"


def _project_file() -> str | None:
    try:
        folder = os.getcwd()
    except OSError:  # it was removed
        return None
    while True:
        path = os.path.join(folder, _PROJECT_FILE)
        # The folder of the contexts has the same name.
        if os.path.isfile(path):
            return path
        if folder == (folder := os.path.dirname(folder)):
            return None


def _json(path: str) -> Secret:
    content = _read(path, path)
    try:
        return Secret(json.loads(content.reveal()))
    except (ValueError, RecursionError):
        pass
    # Not in there, or the error's frames would have what was read.
    raise BadValueError(f"{path} is not JSON: write it anew, as by `versori projects sync`")


def _yaml(path: str, where: str) -> Secret:
    content = _read(path, where)
    try:
        import yaml
    except ImportError:
        raise BadValueError(
            f"{where} takes an extra to be read: pip install 'opentelemetry-exporter-versori-flow[cli]'"
        ) from None
    line = ""
    try:
        return Secret(yaml.safe_load(content.reveal()))
    except yaml.MarkedYAMLError as error:
        line = f" (line {error.problem_mark.line + 1})" if error.problem_mark else ""
    except (yaml.YAMLError, ValueError, RecursionError):
        pass
    raise BadValueError(f"{where} is not YAML{line}: write it anew, as by `versori context add`")


def _read(path: str, where: str) -> Secret:
    try:
        return read_file(path, _LONGEST)[0]
    except BadValueError as problem:
        raise BadValueError(f"{where} {problem}") from None


def _mapping(where: str, document: Secret) -> Secret:
    if not isinstance(document.reveal(), Mapping):
        raise BadValueError(f"{where} holds no mapping of names to values: write it anew")
    return document
