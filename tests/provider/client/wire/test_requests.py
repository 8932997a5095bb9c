"""Both API versions are written as Extend reads them."""

from __future__ import annotations

from typing import Any

import pytest

from extend_provider.client.models import (
    BatchInput,
    FileInput,
    RunInput,
)
from extend_provider.client.wire import API_VERSIONS, wire_for
from extend_provider.client.wire.base import RunOptions
from extend_provider.exceptions import ExtendInputError
from fixtures.extend.wire_runs import (
    NEW,
    OLD,
)

URL = FileInput(url="https://bucket/key", name="a.pdf")
BY_ID = FileInput(file_id="file_1")
TEXT = FileInput(text="Invoice 7")


class TestRequests:
    @pytest.mark.parametrize(
        ("file", "body"),
        [
            pytest.param(URL, {"url": "https://bucket/key", "name": "a.pdf"}, id="url"),
            pytest.param(BY_ID, {"id": "file_1"}, id="file-id"),
            pytest.param(FileInput(text="x", name="x.txt"), {"text": "x", "name": "x.txt"}, id="text"),
            pytest.param(FileInput(text=""), {"text": ""}, id="empty-text"),
            pytest.param(
                FileInput(url="u", password="p"), {"url": "u", "settings": {"password": "p"}}, id="password"
            ),
        ],
    )
    def test_2026_file(self, file: FileInput, body: dict[str, Any]) -> None:
        assert NEW.run_body("w", [RunInput(file)], RunOptions()) == {"workflow": {"id": "w"}, "file": body}

    def test_2026_run_with_everything(self) -> None:
        outputs = [{"processorId": "cl_1", "output": {"id": "c", "type": "invoice"}}]
        body = NEW.run_body(
            "w",
            [RunInput(BY_ID, outputs)],
            RunOptions(version="draft", priority=1, metadata={"a": 1}, secrets={"s": "t"}),
        )
        assert body == {
            "workflow": {"id": "w", "version": "draft"},
            "file": {"id": "file_1"},
            "outputs": outputs,
            "priority": 1,
            "metadata": {"a": 1},
            "secrets": {"s": "t"},
        }

    def test_2026_batch(self) -> None:
        inputs = [BatchInput(URL, {"n": 1}), BatchInput(TEXT, secrets={"s": "t"})]
        assert NEW.batch_body("w", inputs, RunOptions(version="3", priority=90)) == {
            "workflow": {"id": "w", "version": "3"},
            "inputs": [
                {"file": {"url": "https://bucket/key", "name": "a.pdf"}, "metadata": {"n": 1}},
                {"file": {"text": "Invoice 7"}, "secrets": {"s": "t"}},
            ],
            "priority": 90,
        }

    def test_2025_run_of_several_files_with_everything(self) -> None:
        outputs = [{"processorId": "cl_1", "output": {"id": "c", "type": "invoice"}}]
        body = OLD.run_body(
            "w",
            [RunInput(URL, outputs), RunInput(BY_ID)],
            RunOptions(version="3", priority=1, metadata={"a": 1}, name="nightly"),
        )
        assert body == {
            "workflowId": "w",
            "version": "3",
            "files": [
                {"fileName": "a.pdf", "fileUrl": "https://bucket/key", "outputs": outputs},
                {"fileId": "file_1"},
            ],
            "name": "nightly",
            "priority": 1,
            "metadata": {"a": 1},
        }

    def test_2025_raw_texts(self) -> None:
        body = OLD.run_body("w", [RunInput(TEXT), RunInput(FileInput(text="two"))], RunOptions())
        assert body == {"workflowId": "w", "rawTexts": ["Invoice 7", "two"]}

    def test_2025_batch_leaves_out_the_priority_that_the_version_fixes(self) -> None:
        inputs = [BatchInput(URL, {"n": 1}), BatchInput(TEXT, secrets={"s": "t"})]
        assert OLD.batch_body("w", inputs, RunOptions(priority=5)) == {
            "workflowId": "w",
            "inputs": [
                {"file": {"fileName": "a.pdf", "fileUrl": "https://bucket/key"}, "metadata": {"n": 1}},
                {"rawText": "Invoice 7", "secrets": {"s": "t"}},
            ],
        }

    @pytest.mark.parametrize("version", API_VERSIONS)
    @pytest.mark.parametrize(
        "file",
        [
            pytest.param(FileInput(), id="nothing"),
            pytest.param(FileInput(name="a.pdf"), id="name-only"),
            pytest.param(FileInput(url="https://bucket/key?secret", text="t"), id="url-and-text"),
            pytest.param(FileInput(file_id="f", password="p"), id="password-for-an-id"),
        ],
    )
    def test_a_file_of_no_or_two_sources_is_refused(self, version: str, file: FileInput) -> None:
        wire = wire_for(version)
        with pytest.raises(ExtendInputError) as run_refusal:
            wire.run_body("w", [RunInput(file)], RunOptions())
        with pytest.raises(ExtendInputError) as batch_refusal:
            wire.batch_body("w", [BatchInput(file)], RunOptions())
        assert "secret" not in f"{run_refusal.value} {batch_refusal.value}"

    @pytest.mark.parametrize(
        ("inputs", "options", "names"),
        [
            pytest.param([RunInput(URL), RunInput(TEXT)], {}, "not both", id="files-and-texts"),
            pytest.param([RunInput(TEXT, [{"processorId": "p"}])], {}, "outputs", id="outputs-for-a-text"),
            pytest.param([RunInput(URL)], {"secrets": {"a": "b"}}, "secrets", id="secrets"),
            pytest.param([RunInput(FileInput(url="u", password="p"))], {}, "password", id="password"),
        ],
    )
    def test_a_setting_unknown_to_2025_is_refused(
        self, inputs: list[RunInput], options: dict[str, Any], names: str
    ) -> None:
        with pytest.raises(ExtendInputError, match=names):
            OLD.run_body("w", inputs, RunOptions(**options))

    def test_2026_takes_one_file_per_run(self) -> None:
        with pytest.raises(ExtendInputError, match="one file"):
            NEW.run_body("w", [RunInput(URL), RunInput(BY_ID)], RunOptions())

    def test_an_unknown_version_is_refused_naming_the_known_ones(self) -> None:
        with pytest.raises(ExtendInputError, match=r"'2024-12-23'.*2026-02-09, 2025-04-21"):
            wire_for("2024-12-23")
