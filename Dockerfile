# The image of the service, the page and the command line; `make image` lays out build/image, and docs/deployment.md says how
# it is run. Nothing is fetched while it is built: all packages are in build/image/lib, made for the base's Python.
ARG BASE=python:3.11-slim-bookworm
FROM ${BASE}

COPY build/image/lib /opt/rlm
RUN python3 -c 'import sys; sys.path.insert(0, "/opt/rlm"); import aiohttp, msgspec, rlm.service.server' \
  && python3 -m compileall -q /opt/rlm \
  && mkdir -m 1777 /data

ENV PYTHONPATH=/opt/rlm PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOME=/data PATH=/opt/rlm/bin:$PATH
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8378
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s \
  CMD ["python3", "-m", "rlm", "serve", "status", "--health"]
ENTRYPOINT ["python3", "-m", "rlm"]
CMD ["serve", "--host", "0.0.0.0"]
