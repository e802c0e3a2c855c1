# The commands of bistil_ds. TORCH_INDEX is the index that torch comes from: PyTorch's page for installing it names one for
# CPUs, which saves gigabytes. Without it pip's default is used, whose torch is for NVIDIA GPUs: give a base with the CUDA
# version that torch was built for. A base with "devel" has nvcc, which DeepSpeed needs for the *_offload files only.
ARG BASE=ubuntu:24.04
FROM ${BASE}
ARG TORCH_INDEX=

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
RUN pip install --no-cache-dir --constraint constraints.txt ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch

COPY . .
RUN pip install --no-cache-dir --constraint constraints.txt ".[openvino,trackers]"

# runs/ and the caches lie in /work: mount a folder there to keep them, and give its owner by --user
RUN useradd --uid 10001 --create-home bistil && install --directory --owner bistil /work
USER 10001
WORKDIR /work
ENV HOME=/work USER=bistil
CMD ["bistil-demo", "--help"]
