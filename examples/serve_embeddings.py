"""Serve an exported folder at /v1/embeddings, in the form of OpenAI's API: serve_embeddings.py FOLDER PORT."""

import sys

from litserve import LitAPI, LitServer, OpenAIEmbeddingSpec
from numpy import ndarray
from sentence_transformers import SentenceTransformer


class Embeddings(LitAPI):
    def setup(self, device: str) -> None:
        self.model = SentenceTransformer(sys.argv[1], device=device)

    def predict(self, texts: str | list[str]) -> ndarray:
        return self.model.encode(texts)


if __name__ == "__main__":
    server = LitServer(Embeddings(spec=OpenAIEmbeddingSpec()))
    server.run(host="127.0.0.1", port=int(sys.argv[2]), generate_client_file=False)
