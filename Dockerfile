# hybrid-search with its bundled models, for index jobs and `serve`: no network is needed once it is built.
#   docker build -t hybrid-search .
#   docker run --rm -v "$PWD/datasets:/data:ro" -v hybrid-search:/home/app hybrid-search index /data/movies -c movies
FROM python:3.13.9-slim-bookworm AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY hybrid_search ./hybrid_search
COPY datasets/movies ./datasets/movies
RUN python -m venv /opt/hybrid-search \
 && /opt/hybrid-search/bin/pip install --no-cache-dir '.[documents,serve]'

FROM python:3.13.9-slim-bookworm
# Collections that lie in folders, caches and logs are under the home folder: mount a volume there to keep them.
RUN useradd --uid 1000 --create-home app
COPY --from=build /opt/hybrid-search /opt/hybrid-search
ENV PATH=/opt/hybrid-search/bin:$PATH \
    PYTHONUNBUFFERED=1
USER 1000
WORKDIR /home/app
ENTRYPOINT ["hybrid-search"]
CMD ["--help"]
