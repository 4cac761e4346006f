# syntax=docker/dockerfile:1
# vrag with its servers, the shipped models, OCR and page-image search. `docker build -t vrag .`; see docs/deploy.md.
ARG PYTHON_VERSION=3.12

FROM python:${PYTHON_VERSION}-slim AS build
# uv knows where each build of torch is: cpu, cu130, … A GPU build is gigabytes larger.
ARG TORCH_BACKEND=cpu
ARG EXTRAS=serve,encoders,index,ocr
RUN pip install --no-cache-dir "uv>=0.8" && python -m venv /opt/vrag
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
RUN --mount=type=cache,target=/root/.cache/uv \
    UV_LINK_MODE=copy uv pip install --python /opt/vrag/bin/python --compile-bytecode \
    --torch-backend "${TORCH_BACKEND}" ".[${EXTRAS}]"

FROM python:${PYTHON_VERSION}-slim
# Debian packages to add, for office documents "libreoffice-writer libreoffice-calc libreoffice-impress".
ARG PACKAGES=""
RUN if [ -n "${PACKAGES}" ]; then \
      apt-get update && apt-get install --yes --no-install-recommends ${PACKAGES} && rm -rf /var/lib/apt/lists/*; \
    fi
RUN useradd --uid 1000 --user-group --create-home vrag && install --directory --owner=vrag --group=vrag /data
COPY --from=build /opt/vrag /opt/vrag
ENV PATH=/opt/vrag/bin:$PATH VRAG_HOME=/data HF_HOME=/data/huggingface PYTHONUNBUFFERED=1
USER 1000:1000
WORKDIR /data
VOLUME /data
ENTRYPOINT ["vrag"]
CMD ["--help"]
