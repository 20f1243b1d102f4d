"""A collection as LangChain's retriever."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever, LangSmithRetrieverParams
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, create_model, field_validator

from hybrid_search.integrations.collection_handle import LiveCollection, resolve_handle
from hybrid_search.integrations.langchain.documents import OPTIONS, option_fields, passage_document, request_of
from hybrid_search.integrations.langchain.rebuild import Remade
from hybrid_search.search.request import SearchRequest, search_options
from hybrid_search.searcher import Searcher
from hybrid_search.settings import Settings

if TYPE_CHECKING:

    class SearchFields(BaseModel):
        """The options of a search as fields: those of `search_options()`."""

        def __getattr__(self, name: str) -> Any: ...

else:
    SearchFields = create_model("SearchFields", **option_fields(search_options()))


class HybridSearchRetriever(Remade, SearchFields, BaseRetriever):
    """The documents, the order and the scores of `Searcher.search`; k counts documents.

    A document of LangChain is the best passage of one of ours: its id is the chunk's, `metadata` has what the document
    says of itself and the evidence: `doc_id`, `rank`, `score`, `legs` (rank and score in each leg, None where it did
    not find the passage), `rerank_score`, and the other keys of `hit_documents.EVIDENCE`.

        retriever = HybridSearchRetriever(collection="movies", k=5, where={"year": {"$gte": 1980}}, rerank=True)
        retriever.invoke("a film about music")              # or await retriever.ainvoke(...), retriever.batch([...])
        retriever.invoke("a film about music", k=3, mode="sparse")                      # any option, for one call

    Nothing is opened before the first call. The collection is opened once a process for all retrievers and vector
    stores of its name, place and settings, and answers from what they have written. A retriever can be pickled, copied,
    and written and read with `langchain_core.load`; settings that were given are pickled with it, but not written.

    Args:
        collection: its name; or `searcher`, an open `Searcher`, which stays yours to close.
        store: a folder, a server's URL, or an open store; the settings' store when not given.
        settings: read from the environment and the config file when not given.

    Every option of `Searcher.search` is a field, too; `search_options()` has them with their defaults and help. Here
    `where` may also be a dict (`{"year": {"$gte": 1990}}`), `explain` adds `matched_terms` to the metadata, and
    `highlight`, which is off unless asked for, adds `window` and `highlights`.

    Raises:
        InvalidArgument: an option that is invalid, neither collection nor searcher, or both.
        HybridSearchError: on a call, whatever `Searcher.open` and `Searcher.search` raise.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    collection: str | None = None
    searcher: Searcher | None = Field(default=None, exclude=True, repr=False)
    store: Any = Field(default=None, repr=False)  # a URL can hold a password
    settings: Settings | None = Field(default=None, exclude=True, repr=False)

    _live: LiveCollection = PrivateAttr()

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            collection: str | None = None,
            searcher: Searcher | None = None,
            store: Any = None,
            settings: Settings | None = None,
            **options: Any,
        ) -> None: ...

    @field_validator("where", mode="after")
    @classmethod
    def _as_json(cls, where: Any) -> Any:
        """Keep a tree as its text, which can be written."""
        return where if where is None or isinstance(where, (str, dict)) else str(where)

    def model_post_init(self, context: Any, /) -> None:
        """Refuse what is invalid, before anything is opened."""
        super().model_post_init(context)
        self._live = resolve_handle(self.collection, self.searcher, self.store, self.settings)
        self._asked({})

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """Return True: `langchain_core.load.dumps` writes one that was made with a collection's name."""
        return True

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **options: Any
    ) -> list[Document]:
        return [passage_document(hit) for hit in self._live.search(query, self._asked(options))]

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **options: Any
    ) -> list[Document]:
        return [passage_document(hit) for hit in await self._live.asearch(query, self._asked(options))]

    def _asked(self, given: dict[str, Any]) -> SearchRequest:
        own = {name: getattr(self, name) for name in OPTIONS}
        if given.get("filter") is not None:
            del own["where"]
        return request_of({**own, **given})

    def _get_ls_params(self, **kwargs: Any) -> LangSmithRetrieverParams:
        params = super()._get_ls_params(**kwargs)
        params["ls_vector_store_provider"] = "hybrid_search"
        return params
