"""What a chunk sends: its documents as they stand, and the inputs of those that go.

Extend takes a batch whole or not at all. Where it refuses one for a document, that document ends here as
FAILED, with Extend's reason, and the others are sent without it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from extend_pipeline.documents import Document
from extend_pipeline.exceptions import PipelineSourceError
from extend_provider.client.models import BatchInput
from extend_provider.client.refusals import RefusedInput


@dataclasses.dataclass(frozen=True, slots=True)
class Sending:
    """Documents that are about to be sent.

    :param documents: all of the chunk, those that are not sent with their status.
    :param inputs: of the others, in their order.
    :param refused: what Extend has said so far of documents that it does not take, by their id.
    """

    documents: Sequence[Document]
    inputs: Sequence[BatchInput]
    refused: Mapping[str, RefusedInput] = dataclasses.field(default_factory=dict)

    def without(self, refused: Sequence[RefusedInput]) -> Sending:
        """Return what is left to be sent; the refused documents are FAILED.

        :raises PipelineSourceError: if Extend takes none of several, and not for what the files are: that
            tells of a setting, not of documents.
        """
        to_send = [document for document in self.documents if document.status is None]
        by_id = {**self.refused, **{to_send[each.index].id: each for each in refused}}
        left = Sending(
            [_ended(document, by_id.get(document.id)) for document in self.documents],
            [each for each, document in zip(self.inputs, to_send, strict=True) if document.id not in by_id],
            by_id,
        )
        if not left.inputs and len(by_id) > 1 and not all(each.is_of_the_file for each in by_id.values()):
            raise PipelineSourceError(
                f"Extend takes none of {len(by_id):,} documents, the last one for this: "
                f"{refused[-1].reason}: {refused[-1].message} Nothing was sent, and no document has ended. "
                "Check that Extend can read where they lie: rights, networks that are let in, how long URLs "
                "are valid. Then clear this task."
            )
        return left


def _ended(document: Document, refused: RefusedInput | None) -> Document:
    if refused is None or document.status is not None:
        return document
    message = f"Extend refused the batch for this document, which was sent without it: {refused.message}"
    return dataclasses.replace(document, status="FAILED", reason=refused.reason, message=message)
