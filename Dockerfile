# The commands of bistil_ds, for a CPU by default. For NVIDIA GPUs, with the CUDA version that torch was built for:
#   docker build --build-arg BASE=nvidia/cuda:13.0.2-devel-ubuntu24.04 --build-arg TORCH=cuda -t bistil .
# The base with "devel" has nvcc, which DeepSpeed needs for the *_offload configurations only.
ARG BASE=ubuntu:24.04
FROM ${BASE}
ARG TORCH=cpu

# g++ and the headers: Triton compiles its launchers when a kernel first runs
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ python3-dev python3-venv \
    && rm -rf /var/lib/apt/lists/* \
    && python3 -m venv /opt/bistil
ENV PATH=/opt/bistil/bin:$PATH DS_BUILD_OPS=0

# torch, the largest layer, does not change with our code
WORKDIR /opt/src
COPY constraints.txt ./
RUN case "$TORCH" in \
        cpu) set -- --index-url https://download.pytorch.org/whl/cpu ;; \
        cuda) set -- ;; \
        *) echo "TORCH=$TORCH: give cpu or cuda" >&2; exit 2 ;; \
    esac \
    && pip install --no-cache-dir --constraint constraints.txt "$@" torch

COPY . .
RUN pip install --no-cache-dir --constraint constraints.txt ".[onnx,trackers]"

# runs/ and the caches lie in /work: mount a folder there to keep them, and give its owner by --user
RUN useradd --uid 10001 --create-home bistil && install --directory --owner bistil /work
USER 10001
WORKDIR /work
ENV HOME=/work USER=bistil
CMD ["bistil-demo", "--help"]
