"""The paths of files, batches and administration."""

from ssljax.serve.openapi.build import Operation, in_path, operation
from ssljax.serve.openapi.schemas import answer, fields, nullable, number, ref, several, text, whole

ID = (in_path("id", "Of the object."),)
PAGE = ({"name": "limit", "in": "query", "schema": whole(1, 100)},
        {"name": "after", "in": "query", "schema": text()})
OBJECT = answer({"id": text(), "object": text()})
LIST = answer({"object": text(enum=["list"]), "data": several(OBJECT)})
ANYTHING = ref("Anything")
STATES = answer({"data": several(ANYTHING)})

UPLOAD = {"required": True, "content": {"multipart/form-data": {"schema": fields(
    {"file": text(contentMediaType="application/octet-stream"), "purpose": text(enum=["batch"])},
    "file", "purpose")}}}
BATCH = fields({
    "input_file_id": text(), "completion_window": text(enum=["24h"]),
    "endpoint": text("A path of this server."),
    "metadata": {"type": "object", "additionalProperties": text(maxLength=512),
                 "maxProperties": 16}}, "input_file_id", "endpoint")

FILES: dict[str, dict[str, Operation]] = {
    "/v1/files": {
        "get": operation("files", "The caller's files.", LIST, parameters=(
            *PAGE, {"name": "purpose", "in": "query", "schema": text()})),
        "post": operation("upload", "Keep a file.", OBJECT) | {"requestBody": UPLOAD}},
    "/v1/files/{id}": {
        "get": operation("file", "One file's facts.", OBJECT, parameters=ID),
        "delete": operation("deleteFile", "Delete a file.", OBJECT, parameters=ID)},
    "/v1/files/{id}/content": {"get": operation(
        "fileContent", "A file's bytes.", None, kind="application/octet-stream", parameters=ID)},
    "/v1/batches": {
        "get": operation("batches", "The caller's batches.", LIST, parameters=PAGE),
        "post": operation("batch", "Answer a file of requests.", OBJECT, body=BATCH)},
    "/v1/batches/{id}": {"get": operation("batchState", "How far a batch is.", OBJECT,
                                          parameters=ID)},
    "/v1/batches/{id}/cancel": {"post": operation("cancelBatch", "Stop a batch.", OBJECT,
                                                  parameters=ID)},
}

NAME, VERSION = text("Of a model."), text("Of a version of it.")
ADMIN: dict[str, dict[str, Operation]] = {
    "/admin/models": {"get": operation("adminModels", "Every version and its traffic.", STATES)},
    "/admin/models/load": {"post": operation(
        "load", "Load an artefact; answers once it is ready.",
        answer({"name": text(), "version": text(), "fingerprint": text()}),
        body=fields({"artefact": text("Its folder on the server."), "name": NAME,
                     "version": VERSION, "weight": number(0)}, "artefact"))},
    "/admin/models/unload": {"post": operation(
        "unload", "Unload a version once its calls have ended.", ANYTHING,
        body=fields({"name": NAME, "version": VERSION, "seconds": number(0)}, "name", "version"))},
    "/admin/adapters": {"get": operation("adminAdapters", "Every adapter.", STATES)},
    "/admin/adapters/load": {"post": operation(
        "loadAdapter", "Load an adapter on a model that runs.",
        answer({"name": text(), "version": text(), "fingerprint": text(), "base": text()}),
        body=fields({"adapter": text("Its folder on the server."), "name": NAME,
                     "version": VERSION, "base": text("Name of the model that it changes."),
                     "weight": number(0)}, "adapter", "name"))},
    "/admin/adapters/unload": {"post": operation(
        "unloadAdapter", "Unload an adapter once its calls have ended.", ANYTHING,
        body=fields({"name": NAME, "version": VERSION, "seconds": number(0)}, "name"))},
    "/admin/traffic": {"post": operation(
        "traffic", "Share a model's traffic among its versions.", STATES,
        body=fields({"name": NAME, "weights": {"type": "object",
                                               "additionalProperties": number(0)}},
                    "name", "weights"))},
    "/admin/rollback": {"post": operation("rollback", "Go back to the split before the last one.",
                                          STATES, body=fields({"name": NAME}, "name"))},
    "/admin/shadow": {
        "get": operation("shadows", "How shadow versions agree.", STATES),
        "post": operation("shadow", "Send a share of requests to a version as well.", STATES,
                          body=fields({"name": NAME, "version": nullable(VERSION),
                                       "share": number(0, 1)}, "name"))},
}
