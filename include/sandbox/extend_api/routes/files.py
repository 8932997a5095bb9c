"""The file endpoints, and the signed address that serves the bytes of a file."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from sandbox.extend_api.emulator import Emulator
from sandbox.extend_api.errors import InvalidRequest
from sandbox.extend_api.routes import queries
from sandbox.extend_api.routes.gate import Call
from sandbox.extend_api.signed_urls import check_query, signed_query
from sandbox.extend_api.state.model import StoredFile, new_id, now_ms

URL_LIFETIME_SECONDS = 15 * 60
COPY_BYTES = 1024 * 1024

#: The file extensions that Extend accepts, by its type of file.
EXTENSIONS = {
    "CSV": "csv",
    "DOCX": "doc docx dotx odt ppt pptx rtf wpd",
    "EXCEL": "ods xls xlsx xltm xltx",
    "HTML": "html",
    "IMG": "bmp gif heic heif jpeg jpg pcx png ppm psd svg tif tiff webp",
    "PDF": "pdf",
    "TXT": "eml lis md txt",
    "XML": "xml",
}
_TYPE_OF = {extension: name for name, extensions in EXTENSIONS.items() for extension in extensions.split()}


def file_type(name: str) -> str | None:
    """Return Extend's type of a file by its name; None if Extend does not accept the file."""
    return _TYPE_OF.get(name.rsplit(".", 1)[-1].lower()) if "." in name else None


async def upload_file(call: Call) -> Any:
    """``POST /files/upload``: multipart, field ``file``."""
    async with call.request.form() as form:
        upload, password = form.get("file"), form.get("password")
        if not isinstance(upload, UploadFile) or not upload.filename:
            raise InvalidRequest("A file is required", "file")
        kind = file_type(upload.filename)
        _check_upload(call.emulator, upload, kind)
        file_id, now = new_id("file"), now_ms()
        target = call.emulator.store.folder / file_id
        await asyncio.to_thread(_save, upload, target)
    file = StoredFile(
        file_id,
        upload.filename,
        now,
        now,
        type="PDF" if _converted(call.request, kind) else kind,
        content=target,
        password=password if isinstance(password, str) else None,
    )
    call.emulator.store.add_file(file)
    return call.shapes.file(file)


def _check_upload(emulator: Emulator, upload: UploadFile, kind: str | None) -> None:
    limit = emulator.settings.max_file_bytes
    if kind is None:
        raise InvalidRequest("File type not supported.", "file", file_code="FILE_TYPE_NOT_SUPPORTED")
    if limit is not None and (upload.size or 0) > limit:
        raise InvalidRequest(
            f"The file is larger than {limit} bytes.", "file", file_code="FILE_SIZE_TOO_LARGE"
        )


def _converted(request: Request, kind: str | None) -> bool:
    """Return True if Extend converts the file to PDF: Word and PowerPoint always, others on request."""
    asked = request.query_params.get("convertToPdf", "").lower() == "true"
    return kind == "DOCX" or (asked and kind in ("IMG", "EXCEL", "HTML"))


def _save(upload: UploadFile, target: Path) -> None:
    with target.open("wb") as file:
        shutil.copyfileobj(upload.file, file, COPY_BYTES)


async def list_files(call: Call) -> Any:
    """``GET /files``: newest first, in pages."""
    settings, params = call.emulator.settings, dict(call.request.query_params)
    page = call.emulator.store.file_page(
        params.get("nameContains"),
        queries.page_size(params, settings),
        queries.page_position(params, settings),
        ascending=queries.ascending(params),
    )
    return {**call.shapes.file_list(page.items), **queries.next_page(params, page.next_position, settings)}


async def get_file(call: Call) -> Any:
    """``GET /files/{id}``: the file with a download address that is valid for 15 minutes."""
    file = call.emulator.file(call.id)
    if file.content is None:
        return call.shapes.file(file)
    return call.shapes.file(file, _presigned(call.request, file.id))


async def delete_file(call: Call) -> Any:
    """``DELETE /files/{id}``."""
    file = call.emulator.file(call.id)
    call.emulator.store.delete_file(file)
    return call.shapes.file_deleted(file.id)


def _presigned(request: Request, file_id: str) -> str:
    url = request.url_for("file_content", id=file_id)
    return f"{url}?{signed_query(file_id, URL_LIFETIME_SECONDS)}"


def file_content(emulator: Emulator, request: Request) -> Response:
    """Return the bytes of a file if the address is valid; raises ApiError (403, 404)."""
    file_id = str(request.path_params["id"])
    check_query(file_id, request.query_params)
    content = emulator.file(file_id).content
    if isinstance(content, Path):
        return FileResponse(content, media_type="application/octet-stream")
    return Response(content or b"", media_type="application/octet-stream")
